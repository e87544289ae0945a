"""The comparison with other libraries believes nobody: counts, verdicts and tables are checked."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.requirements import Requirement

from bench.peers import measuring, report, samples
from bench.peers.environments import ENVIRONMENTS
from bench.peers.measuring import Cell, Measurements, forget, projected_by_bisection
from bench.peers.samples import Samples, Verdict

ROOT = Path(__file__).resolve().parents[2]
torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def counted(inner):
    from bench.peers.counted import Counted

    return Counted(inner)


def test_no_environment_asks_for_what_the_constraints_forbid():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines)
    for wanted in (Requirement(text) for env in ENVIRONMENTS for text in env.needed):
        held = pinned.get(wanted.name.lower())
        assert held is None or wanted.specifier.contains(held), (str(wanted), held)


def test_a_module_counts_samples_forward_and_cotangents_backward():
    module = counted(torch.nn.Linear(3, 2))
    x = torch.ones(5, 3, requires_grad=True)
    score = module(x)
    assert (module.forward_runs, module.backward_runs) == (5, 0)
    torch.autograd.grad(score.sum(), x, retain_graph=True)
    assert module.backward_runs == 5
    many = torch.ones(4, 5, 2)
    torch.autograd.grad(score, x, many, is_grads_batched=True, retain_graph=True)
    assert module.backward_runs == 25
    score.sum().backward()
    assert module.backward_runs == 30


def test_a_run_without_gradients_counts_no_cotangent():
    module = counted(torch.nn.Linear(3, 2))
    with torch.no_grad():
        module(torch.ones(5, 3))
    assert (module.forward_runs, module.backward_runs) == (5, 0)


def test_the_counts_of_the_torch_adapter_are_those_of_the_module():
    import pertcore as pc

    module = counted(torch.nn.Linear(3, 4)).eval().requires_grad_(False)
    oracle = pc.from_torch(module, input_shape=(3,))
    x = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    settings = {"attack": "deepfool", "norm": 2, "bounds": (0, 1)}
    pc.attack(oracle, x, **settings)  # the first time the adapter tries out batched cotangents
    ran, before = (module.forward_runs, module.backward_runs), oracle.calls.copy()
    pc.attack(oracle, x, **settings)
    spent = oracle.calls - before
    assert (module.forward_runs - ran[0], module.backward_runs - ran[1]) == (spent.f, spent.vjp)


class Given(Samples):
    """Two classes by the sign of the first entry; nobody's model is run."""

    def classes(self, x):
        found = (x[:, 0] > 0.5).astype(np.int64)
        return found, found


def given():
    x = np.full((3, 2), 0.25, np.float32)
    return Given("none", None, x, np.zeros(3, np.int64), 3)


def test_success_needs_another_class_and_a_point_inside_ball_and_box():
    x_adv = np.array([[0.6, 0.25], [0.4, 0.25], [0.6, 1.5]], np.float32)
    verdict = given().verdict(x_adv, math.inf, 0.5)
    assert verdict.success.tolist() == [True, False, False]
    assert verdict.beyond[2] == pytest.approx(0.75)  # the ball, farther than the box's 0.5
    assert given().verdict(x_adv, math.inf, 0.3).success.tolist() == [False] * 3


def test_rounding_is_forgiven_and_reported():
    x_adv = np.full((3, 2), 0.6, np.float32)
    eps = float(np.float32(0.6)) - 0.25 - 1e-8
    verdict = given().verdict(x_adv, math.inf, eps)
    assert verdict.success.all()
    assert verdict.figures()["outside exactly"] == 1
    assert verdict.figures()["farthest outside"] == pytest.approx(1e-8, rel=0.1)


def test_who_stands_is_infinitely_far():
    found = Verdict(np.array([True, False, False]), np.array([1.0, 0.1, 0.1]), np.zeros(3))
    assert found.figures()["median norm"] is None
    found = Verdict(np.array([True, True, False]), np.array([1.0, 2.0, 0.1]), np.zeros(3))
    assert found.figures()["median norm"] == 2.0


def test_the_definition_that_projections_are_held_to():
    rows = np.array([[3.0, -1.0, 0.5]])
    assert projected_by_bisection(rows, 2.0)[0] == pytest.approx([2.0, 0.0, 0.0], abs=1e-12)
    assert projected_by_bisection(rows, 3.0)[0] == pytest.approx([2.5, -0.5, 0.0], abs=1e-12)


def row(library, attack, **more):
    held = {
        "section": "autoattack", "model": "m", "norm": "inf", "eps": 0.1, "library": library,
        "attack": attack, "options": {}, "samples": 50, "part": 0, "repeat": 0, "threads": 1,
        "looked": 100, "success": 0.2, "passes": 100.0, "median norm": None,
        "outside exactly": 0.0, "farthest outside": 0.0, "processor seconds": 1.0,
    }  # fmt: skip
    return held | more


def test_what_is_on_disk_is_not_asked_for_again(tmp_path):
    file = tmp_path / "measured.jsonl"
    kept = row("ART", "pgd", section="pgd", options={"steps": 4})
    file.write_text(json.dumps(kept) + "\n")
    measured = Measurements(SimpleNamespace(threads=1), file=file)
    found = measured.measure("pgd", Cell("m", math.inf, 0.1), "ART", "pgd", samples=50, steps=4)
    assert found == kept
    forget(file, "ART", "pgd")
    assert file.read_text() == ""


def page(*rows):
    facts = {"processor": "p", "cores": 2, "system": "s", "load_before": 1.0}
    return report.page({"machine": facts, "threads": 1, "rows": list(rows)})


def test_parts_are_pooled_and_compared_only_where_both_have_them():
    ours, theirs = ("pertcore (ONNX)", "portfolio"), ("torchattacks", "autoattack")
    text = page(
        row(*ours), row(*ours, part=1, success=0.4), row(*ours, part=2, success=1.0),
        row(*theirs, passes=1000.0), row(*theirs, part=1, passes=3000.0),
    )  # fmt: skip
    # 100 images of 200 looked at; 0.5 (1 - 0.3) and 0.5 (1 - 0.2); 100 of 2000 passes
    assert "| m | linf | 0.1 | 100 | 50.0% | 35.0% | 40.0% | 100 | 2000 | 0.050 |" in text


def test_of_the_peers_the_best_median_counts():
    held = [
        row("pertcore (ONNX)", "fmn", **{"median norm": 1.1}),
        row("Foolbox", "fmn", **{"median norm": 2.0}),
        row("adv-lib", "deepfool", **{"median norm": 1.0}),
        row("adv-lib", "ddn"),
    ]
    text = page(*(r | {"section": "minimum", "eps": None} for r in held))
    assert "| m | linf | 50 | 1.1 | - | - | 2 | - | 1 | - | 1.100 | 1.100 |" in text


def test_a_missing_data_folder_is_named(monkeypatch):
    monkeypatch.setattr(samples, "data_folder", lambda: None)
    with pytest.raises(SystemExit, match="PERTCORE_DATA"):
        samples.samples("mnist_lenet5_cln", 1)


def test_what_is_published_can_be_read_again(tmp_path, monkeypatch):
    from bench.peers import __main__ as command

    monkeypatch.setattr(command, "JSON_FILE", tmp_path / "peers.json")
    monkeypatch.setattr(command, "PAGE", tmp_path / "peers.md")
    held = {"a": row("ART", "pgd", section="pgd"), "b": row("ART", "pgd", threads=2)}
    command.publish(1, SimpleNamespace(held=held), quick=False)
    report = json.loads((tmp_path / "peers.json").read_text())
    assert report["rows"] == [held["a"]] and "foolbox==3.3.4" in report["peers"]
    assert "ART PGD" in (tmp_path / "peers.md").read_text()


def test_of_the_points_of_a_curve_the_smallest_that_fools_counts():
    moved = np.array([[0.6, 0.25], [0.55, 0.25], [0.4, 0.25], [0.51, 1.5]], np.float32)
    found = given().smallest(np.stack([moved] * 3), math.inf)
    assert found == pytest.approx([0.3] * 3)
    assert np.isinf(given().smallest(np.stack([moved[2:]] * 3), math.inf)).all()


def test_a_curve_is_judged_from_its_points_and_compared_by_time(tmp_path, monkeypatch):
    for module in (measuring, samples):
        monkeypatch.setattr(module, "WORK", tmp_path)
    answers = {"forward": 6, "backward": 0, "processor seconds": 2.0}

    def ask(_library, request):
        np.savez(request["out"], x_adv=np.full((3, 1, 2), 0.6, np.float32))
        return answers

    libraries = SimpleNamespace(threads=1, ask=ask)
    measured = Measurements(libraries, file=tmp_path / "measured.jsonl")
    whole = given()
    whole = Given(whole.name, tmp_path / "none.onnx", whole.x, whole.y, whole.looked)
    measured.given["m", 3, 0] = whole
    grid = {"grid": [0.1, 0.3, 0.4], "by": "alg1"}
    ours = measured.measure(
        "curve", Cell("m", math.inf), "pertcore (ONNX)", "curve", samples=3, **grid
    )
    assert ours["robust"] == [1.0, 1.0, 0.0] and ours["passes"] == 2
    theirs = ours | {"library": "Foolbox", "options": {"grid": grid["grid"]}}
    text = page(ours, theirs | {"processor seconds": 30.0})
    assert "| m | linf | 0.4 | 3 | Foolbox | pgd | 66.7% | 2 | 30 | 15.0 |" in text


def test_a_ratio_counts_where_our_norm_is_no_larger():
    def turns(library, seconds, norm, **options):
        return {
            "section": "speed", "model": "m", "norm": "2", "eps": None, "library": library,
            "attack": "deepfool", "options": {"steps": 50, **options}, "success": 1.0, "passes": 9,
            "processor seconds": seconds, "median norm": norm,
        }  # fmt: skip

    ours = turns(report.ONNX, 2.0, 1.02, refine=0)
    rows = [ours, turns("Foolbox", 20.0, 1.0), turns("ART", 30.0, 1.01)]
    told = report._speed(rows, "deepfool")
    assert "| (10.0) |" in told.split("Foolbox")[-1].split("\n")[0]
    assert "| 15.0 |" in told.split("ART")[-1].split("\n")[0]
    profile = ours | {"section": "profile", "model seconds": 0.5, "kernel seconds": 0.25}
    told = report._profile({"speed": rows, "profile": [profile], "curve": []})
    assert "| deepfool, refine=0 | pertcore (ONNX) | 2 | 25% | 12% | 62% | 10.0 | 40.0 |" in told
