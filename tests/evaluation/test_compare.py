"""Paired comparisons: intervals against their definition, and against how often they hold."""

import json

import numpy as np
import pytest
from pyarrow import parquet
from scipy import stats

import pertcore as pc
from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA, digits
from pertcore.errors import InputError
from pertcore.evaluation.curve import Curve
from pertcore.oracle import Calls

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")


def curve_of(norms, eps=(0.5, 1.0), **settings):
    norms = np.asarray(norms, dtype=float)
    return Curve(
        np.array(eps), norms, np.zeros_like(norms), None, norms > 0, Calls(), 0.0, 1,
        settings=settings,
    )  # fmt: skip


def normals(n, shift, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.exponential(1, n)
    return common, common * np.exp(shift + 0.1 * rng.normal(size=n))


def test_figures_and_discordant_samples_are_counted():
    a, b = curve_of([0, 0.2, 0.6, 2, np.inf, 0.7]), curve_of([0.1, 0.6, 0.6, 2, 0.9, 0.3])
    row = pc.compare(a, b)["robust accuracy at 0.5"]
    assert (row.a, row.b, row.only_a, row.only_b, row.of) == (4 / 6, 4 / 6, 1, 1, 6)
    clean = pc.compare(a, b)["clean accuracy"]
    assert (clean.a, clean.b, clean.only_a, clean.only_b) == (5 / 6, 1.0, 0, 1)
    with pytest.raises(KeyError, match="clean accuracy"):
        pc.compare(a, b)["accuracy"]


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_interval_is_the_bootstrap_of_the_pairs(level):
    a, b = (curve_of(norms) for norms in normals(300, 0.2))
    row = pc.compare(a, b, level=level)["robust accuracy at 1"]
    pairs = (b.norms > 1).astype(float) - (a.norms > 1)
    wanted = stats.bootstrap(
        (pairs,), np.mean, confidence_level=level, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose([row.low, row.high], wanted, atol=0.005)
    assert row.low < row.difference < row.high


def test_the_interval_holds_as_often_as_it_says():
    """Of many data sets drawn from one law, about `level` have the true difference inside."""
    one, other = normals(2_000_000, 0.1, 1000)
    true = np.mean(other > 1) - np.mean(one > 1)
    held = []
    for seed in range(200):
        a, b = (curve_of(norms, [1.0]) for norms in normals(250, 0.1, seed))
        row = pc.compare(a, b, level=0.9, resamples=1000)["robust accuracy at 1"]
        held.append(row.low <= true <= row.high)
    assert 0.82 <= np.mean(held) <= 0.97


def test_pairs_tell_apart_what_separate_intervals_cannot():
    norms = normals(400, 0.1)
    a, b = (curve_of(n, [0.7]) for n in norms)
    assert a.band()[1][0] > b.band()[0][0], "the intervals of each overlap"
    assert pc.compare(a, b)["robust accuracy at 0.7"].verdict == "b is larger"
    assert pc.compare(b, a)["robust accuracy at 0.7"].verdict == "a is larger"


def test_no_difference_in_n_samples_is_not_certainty():
    a = curve_of(normals(50, 0)[0])
    row = pc.compare(a, a)["clean accuracy"]
    assert row.verdict == "not told apart" and row.difference == 0
    np.testing.assert_allclose([row.low, row.high], [-(1 - 0.05 ** (1 / 50)), 1 - 0.05 ** (1 / 50)])


def test_regressions_compare_losses_and_metrics():
    model, (x, _) = pc.from_onnx(AUTOENCODER, threads=1), digits()
    options = {"bounds": (0, 1), "norm": 2, "attack": "linear"}
    weak, strong = (pc.attack(model, x[:40], eps=eps, **options) for eps in (0.2, 0.4))
    c = pc.compare(weak, strong)
    assert c["mse"].verdict == "b is larger" and c["psnr_out"].verdict == "a is larger"
    np.testing.assert_allclose(
        c["mse"].difference, (strong.metrics["mse"] - weak.metrics["mse"]).mean()
    )
    assert any("budgets differ" in text for text in c.warnings)
    curves = [pc.curve(model, x[:20], eps=[0, 0.3], **options) for _ in range(2)]
    same = pc.compare(*curves)
    assert same["mse at 0.3"].difference == 0 and same["psnr_out at 0"].of == 0


def test_attacks_and_robustness_of_classifiers():
    model, (x, y) = pc.from_onnx(CLASSIFIER, threads=1), digits()
    x, y = x[:60], y[:60]
    results = [pc.attack(model, x, y, eps=0.05, bounds=(0, 1), steps=s) for s in (1, 10)]
    c = pc.compare(*results)
    assert c["robust accuracy"].a == results[0].robust_accuracy
    assert any("steps 1 and 10" in text for text in c.warnings)
    rho = [pc.robustness(model, x, y, bounds=(0, 1), norm=norm) for norm in (2, "inf")]
    found = pc.compare(*rho)
    assert found["clean accuracy"].difference == 0 and len(found.rows) > 3
    text = str(found)
    assert "95 % interval" in text and "norm" in text


def run_folders(tmp_path, *more):
    base = ["attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y", "--limit",
            "50", "--bounds", "0,1", "--eps", "0.1"]  # fmt: skip
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, steps in zip(folders, ("1", "10"), strict=True):
        assert main([*base, "--steps", steps, "--out", str(folder), *more]) == 0
    return folders


def test_folders_compare_like_results(tmp_path, capfd):
    a, b = run_folders(tmp_path)
    model, (x, y) = pc.from_onnx(CLASSIFIER), digits()
    ours = [
        pc.attack(model, x[:50], y[:50], eps=0.1, bounds=(0, 1), steps=steps) for steps in (1, 10)
    ]
    for from_disk, in_memory in zip(pc.compare(a, b).rows, pc.compare(*ours).rows, strict=True):
        assert from_disk == in_memory
    assert not any("trust" in text for text in pc.compare(a, b).warnings)
    capfd.readouterr()
    assert main(["compare", str(a), str(b)]) == 0
    said = capfd.readouterr()
    assert "robust accuracy" in said.out and "not the models alone" in said.err


def test_folders_that_do_not_fit_are_refused(tmp_path, capfd):
    a, b = run_folders(tmp_path)
    run = b / "run.json"
    facts = json.loads(run.read_text())
    for change, named in (
        ({"data_sha256": {"x": "0"}}, "different data"), ({"complete": False}, "not complete"),
        ({"settings": None}, "lacks settings"),
    ):  # fmt: skip
        run.write_text(json.dumps(facts | change))
        assert main(["compare", str(a), str(b)]) == 2
        assert named in capfd.readouterr().err
    run.write_text(json.dumps(facts))
    table = parquet.read_table(b / "results.parquet")
    parquet.write_table(table.take(np.arange(len(table))[::-1]), b / "results.parquet")
    assert main(["compare", str(a), str(b)]) == 2
    assert "at other places" in capfd.readouterr().err
    run.write_text("{")
    assert main(["compare", str(a), str(b)]) == 2
    assert main(["compare", str(a), str(tmp_path / "none")]) == 2
    assert "no such folder" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("a", "b", "more", "named"),
    [
        (curve_of([1, 2]), curve_of([1, 2, 3]), {}, "2 samples and b 3"),
        (curve_of([1, 2]), curve_of([1, 2], [3.0]), {}, "none is in both"),
        (curve_of([1, 2]), 3, {}, "b is a int"),
        (curve_of([1, 2]), curve_of([1, 2]), {"level": 1}, "level"),
        (curve_of([1, 2]), curve_of([1, 2]), {"level": 0}, "level"),
        (curve_of([1, 2]), curve_of([1, 2]), {"resamples": 3}, "resamples"),
    ],
)
def test_wrong_calls_say_so(a, b, more, named):
    with pytest.raises(InputError, match=named):
        pc.compare(a, b, **more)
