"""`make paper` from end to end on a small sample, and that docs/paper.md says what is stored."""

import json

import numpy as np
import pytest

from bench.paper import __main__ as command
from bench.paper.claims import DEEPFOOL, RIVALS, classified, duel, told_apart, verdict, wins
from bench.paper.data import AbsentError
from bench.paper.examples import packed, unpacked
from bench.paper.jobs import (
    BALL,
    FULL,
    MAKERS,
    QUICK,
    Job,
    classifier,
    otherwise,
    regression,
    restored,
)
from bench.paper.page import page, read
from bench.paper.subjects import located

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.errors.PertcoreWarning")
SAMPLE = (
    classifier("digits-fcnn", 60, (0.05, 0.1), shown=30, portfolio=(0.1,)),
    otherwise("digits-fcnn", 40, 0.1),
    classifier("given-resnet20", 4, (0.004,), shown=2),
    Job("fig2", "fooled", {"networks": {"digits-fcnn": 0.2}, "samples": 20, "shown": 2}),
    restored("fig3a", "digits-autoencoder", ["random", "quadratic"], psnr=17.0),
    regression("fig4a", "digits-autoencoder", 3, "2", levels=[0.05], attacks=BALL, boxed=0.05),
    Job("table1", "table1", {"network": "digits-autoencoder", "samples": 2, "eps": 0.05}),
    Job("table2", "table2", {"network": "digits-fcnn", "samples": 40, "eps": 0.1}),
)  # fmt: skip


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Where the digits' networks are trained, once, in a few seconds."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def nothing_given(monkeypatch, tmp_path):
    """A data folder without data."""
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PERTCORE_DATA", str(tmp_path))


@pytest.mark.usefixtures("nothing_given")
def test_from_training_to_the_page(networks, tmp_path, capsys):
    results = tmp_path / "out"
    assert command.made(SAMPLE, results, networks) == ["classifier-given-resnet20"]
    told = capsys.readouterr().out
    assert "left out, given-resnet20 is missing" in told and "PERTCORE_DATA" in told

    before = {path.name: path.stat().st_mtime_ns for path in results.iterdir()}
    assert len(before) == len(SAMPLE) - 1
    command.made(SAMPLE, results, networks)
    assert {path.name: path.stat().st_mtime_ns for path in results.iterdir()} == before

    command.shown(SAMPLE, results, tmp_path / "paper.md")
    text = (tmp_path / "paper.md").read_text()
    for figure in ("fig1.png", "fig2.webp", "fig3.webp", "fig4.png"):
        assert (tmp_path / "paper" / figure).stat().st_size > 1000
        assert f"(paper/{figure})" in text
    assert "## Table II" in text and "Left out here" in text and "Figure 5" not in text
    checked(read(results, SAMPLE))


def checked(results):
    """What must hold whatever the network learned."""
    curves = results["classifier-digits-fcnn"]["curves"]
    assert curves["portfolio"][0]["fooled"] >= curves["Algorithm 1-10"][1]["fooled"] > 0
    assert curves["DeepFool"][0]["fooled"] <= curves["DeepFool"][1]["fooled"]
    for row in curves["Algorithm 1-10"]:
        assert row["alone"] == [0, 0]
    mse = {row["attack"]: np.mean(row["mse"]) for row in results["fig4a"]["rows"]}
    assert mse["random"] < mse["quadratic"] <= mse["quadratic, best"] * (1 + 1e-6)
    assert all(0 < row["reached"] <= 1 + 1e-6 for row in results["table1"]["rows"])
    assert min(r["reached"] for r in results["table1"]["rows"] if r["exact"]) > 0.999
    same = [r["difference"] for r in results["table2"]["rows"] if r["difference"] is not None]
    assert len(same) == 4 and max(same) == 0


@pytest.mark.usefixtures("nothing_given")
def test_other_settings_are_measured_anew(networks, tmp_path, capsys):
    job = Job("table2", "table2", {"network": "digits-fcnn", "samples": 10, "eps": 0.1})
    other = Job("table2", "table2", {**job.settings, "eps": 0.05})
    for asked in (job, job, other):
        command.made([asked], tmp_path, networks)
    assert json.loads((tmp_path / "table2.json").read_text())["settings"]["eps"] == 0.05
    assert capsys.readouterr().out.count("table2: is there") == 1


def test_jobs_have_names_of_their_own_and_settings_that_json_keeps():
    for jobs in (FULL, QUICK):
        assert len({job.name for job in jobs}) == len(jobs)
        for job in jobs:
            assert job.maker in MAKERS
            assert json.loads(json.dumps(job.settings)) == job.settings


def test_the_page_is_made_from_the_results():
    results = read(command.RESULTS, FULL)
    figures = [path.name for path in (command.PAGE.parent / "paper").iterdir()]
    assert command.PAGE.read_text() == page(results, FULL, figures, "paper"), "make paper writes it"
    assert sum((command.PAGE.parent / "paper" / name).stat().st_size for name in figures) < 5e6


def test_attacks_are_told_apart_by_the_samples_that_one_alone_fools():
    assert told_apart(20, 2) and told_apart(2, 20)
    assert not told_apart(0, 0) and not told_apart(3, 1)
    assert verdict(2, 0) == "holds" and verdict(0, 1) == "does not hold"
    assert verdict(1, 1) == "depends on eps" and verdict(0, 0) == "not told apart"


def test_who_moves_the_output_farther():
    rows = [
        {"attack": name, "eps": 1.0, "mse": mse, "psnr_out": psnr}
        for name, mse, psnr in (("a", [1.0, 3.0], 20.0), ("b", [2.0, 2.0], 21.5))
    ]
    assert wins({"rows": rows}, "a", "b") == [(1.0, 1, 2, 1.5)]


def test_pictures_come_back():
    x = np.random.default_rng(0).random((2, 3, 4, 5))
    assert np.abs(unpacked(packed(x)) / 255 - x).max() <= 0.5 / 255 + 1e-9
    assert unpacked(packed(np.array([-1.0, 2.0]))).tolist() == [0, 255]


@pytest.mark.usefixtures("nothing_given")
def test_a_given_network_that_is_absent_is_named(tmp_path):
    with pytest.raises(AbsentError, match=r"cifar10_resnet20\.onnx"):
        located("given-resnet20", tmp_path)


def test_the_words_of_the_summary_fit_its_numbers():
    """Verdicts are written by hand: results that no longer bear them fail here."""
    results = read(command.RESULTS, FULL)
    for part in classified(results):
        assert all(duel(part, rival)["ahead"] == 0 for rival in RIVALS if rival != DEEPFOOL)
    for part in (results["classifier-fcnn"], results["classifier-lenet5"]):
        assert all(duel(part, rival)["behind"] > 0 for rival in RIVALS if rival != DEEPFOOL)
        assert duel(part, DEEPFOOL)["ahead"] > duel(part, DEEPFOOL)["behind"]
    for key in ("fig4a", "fig4b"):
        gains = [gain for *_, gain in wins(results[key], "quadratic", "linear-20")]
        assert gains[0] > 0 > gains[-1]
        boxed = {row["attack"]: row["psnr_out"] for row in results[key]["boxed"]}
        assert boxed["quadratic"] > boxed["linear-1"]
    for key in ("fig4d", "fig4d-given"):
        assert max(gain for *_, gain in wins(results[key], "linear-20", "linear-1")) < 2
    for part in (part for part in results.values() if part["maker"] == "otherwise"):
        fooled = part["fooled"]
        longer = fooled["Algorithm 1-10, steps of eps/4, projected"]
        assert longer > max(fooled["Algorithm 1-200"], fooled["Algorithm 1-10, cross-entropy"])
