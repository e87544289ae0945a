"""Targets, regression, the record of a run and its progress, on the bundled models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import pertcore
from pertcore.cli.app import main
from pertcore.demo import AUTOENCODER, CLASSIFIER, DATA, digits
from pertcore.evaluation.runs.progress import SampleProgress

ATTACK = ["attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y"]
BUDGET = ["--eps", "0.1", "--bounds", "0,1"]


def test_target_from_number_and_file(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.full(500, 3))
    tables = []
    for target in ("3", str(tmp_path / "t.npy")):
        out = tmp_path / "out"
        flags = ["--eps", "0.3", "--bounds", "0,1", "--target", target, "--limit", "30"]
        assert main([*ATTACK, *flags, "--out", str(out)]) == 0
        rows = parquet.read_table(out / "results.parquet").to_pydict()
        assert set(rows["target"]) == {3} and rows["label"] == digits()[1][:30].tolist()
        assert sum(rows["success"]) > 10
        assert all(a == 3 for a, s in zip(rows["after"], rows["success"], strict=True) if s)
        tables.append(rows)
    np.testing.assert_equal(tables[0], tables[1])


def test_a_target_leaves_out_samples_that_have_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x, y = digits()
    told = np.array(y[:40])
    told[:5] = 3  # said to be a 3, whatever the model sees
    np.save(tmp_path / "y.npy", told)
    data = ["--inputs", f"{DATA}:x", "--labels", str(tmp_path / "y.npy"), "--limit", "40"]
    flags = ["--eps", "0.3", "--target", "3", "--batch-size", "16", "--out", str(tmp_path)]
    assert main(["attack", str(CLASSIFIER), *data, *flags, "--bounds", "0,1"]) == 0
    count = int((told == 3).sum())
    assert f"{count}  Their label is the target already." in capfd.readouterr().out
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["samples_left_out"] == count and facts["samples_done"] == 40
    assert facts["summary"]["samples"] == 40 - count and facts["complete"]
    rows = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    rows = {name: np.array(column) for name, column in rows.items()}
    left = told == 3
    assert len(rows["status"]) == 40 and set(rows["status"][left]) == {"CLEAN_ERROR"}
    assert not rows["success"][left].any() and not rows["norm"][left].any()
    np.testing.assert_array_equal(rows["after"][left], rows["before"][left])
    np.testing.assert_array_equal(np.load(tmp_path / "x_adv.npy")[left], x[:40][left])
    assert rows["success"][~left].sum() == facts["summary"]["fooled"] > 20
    already = ~left & (rows["before"] == 3)
    assert not rows["success"][already].any()


def test_run_json_says_what_the_run_used(tmp_path: Path) -> None:
    groups = np.arange(64).reshape(1, 8, 8) // 4
    np.save(tmp_path / "groups.npy", groups)
    flags = ["--attack", "pixel", "--steps", "2", "--partition", str(tmp_path / "groups.npy")]
    flags += ["--limit", "30", "--batch-size", "20", "--decision", "0.25", "--out", str(tmp_path)]
    assert main([*ATTACK, *BUDGET, *flags]) == 0
    facts = json.loads((tmp_path / "run.json").read_text())
    assert list(facts["data_sha256"]) == [str(DATA), str(tmp_path / "groups.npy")]
    settings = facts["settings"]
    wanted = {
        "batch_size": 20, "first_index": 0, "task": "classification", "decision": 0.25,
        "threshold": None, "goal": None, "masked": False, "targeted": False, "seed": 0,
        "partition": str(tmp_path / "groups.npy"), "steps": 2, "attack": "pixel",
    }  # fmt: skip
    assert {name: settings.get(name, "absent") for name in wanted} == wanted


def test_a_name_with_underscores_is_the_same_attack(tmp_path: Path) -> None:
    flags = ["--attack", "rfgsm_dithered", "--limit", "4", "--out", str(tmp_path)]
    assert main([*ATTACK, *BUDGET, *flags]) == 0
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["settings"]["attack"] == "rfgsm-dithered"


@pytest.mark.parametrize("name", list(pertcore.attacks.ATTACKS))
def test_the_bar_never_walks_back_and_ends_full(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[float] = []
    bars: list[SampleProgress] = []

    class Watched(SampleProgress):
        def __init__(self, total: int) -> None:
            super().__init__(total)
            bars.append(self)

        def step(self, progress: Any) -> None:
            super().step(progress)
            seen.append(self.bar.tasks[0].completed)

    monkeypatch.setattr("pertcore.cli.blockwise.SampleProgress", Watched)
    options = pertcore.attacks.ATTACKS[name].options
    flags = ["--restarts", "2"] if "restarts" in options else []
    flags += ["--attack", name, "--limit", "12", "--batch-size", "8"]
    assert main([*ATTACK, "--eps", "0.02", "--bounds", "0,1", *flags]) == 0
    assert seen and seen == sorted(seen) and max(seen) <= 12
    assert bars[0].bar.tasks[0].completed == bars[0].bar.tasks[0].total == 12


def test_regression_without_labels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["attack", str(AUTOENCODER), "--inputs", f"{DATA}:x", "--task", "regression"]
    out = tmp_path / "out"
    flags = ["--limit", "20", "--batch-size", "8", "--out", str(out)]
    assert main([*arguments, *BUDGET, *flags]) == 0
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    assert min(rows["loss_after"]) > max(rows["loss_before"])
    assert np.isnan(rows["margin"]).all() and set(rows["after"]) == {-1}
    shown, page = capfd.readouterr().out, (out / "report.html").read_text()
    body = page[page.index("<body>") :]
    for text in (shown, body):
        assert "mean loss after" in text and not re.search(r"[Ff]ool(?!ed\")|robust acc", text)
    summary = json.loads((out / "run.json").read_text())["summary"]
    assert summary["samples"] == 20 and "fooled" not in summary
    assert summary["mean loss after"] == pytest.approx(np.mean(rows["loss_after"]))
    assert "mean output PSNR (dB, peak 1)" in shown and "mean MSE" in shown
    np.testing.assert_allclose(np.array(rows["mse"]) * 64, rows["loss_after"], rtol=1e-5)
    np.testing.assert_allclose(rows["psnr_out"], -10 * np.log10(rows["mse"]))
    assert min(rows["psnr_in"]) >= 19.99 and max(rows["psnr_in"]) < 60


@pytest.mark.parametrize("name", ["linear", "subset", "pixel", "random", "random-pixel"])
def test_regression_attacks_by_name(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x, _ = digits()
    np.save(tmp_path / "y.npy", x[:12])
    out = tmp_path / "out"
    flags = ["--inputs", f"{DATA}:x", "--labels", str(tmp_path / "y.npy"), "--limit", "12"]
    flags += ["--attack", name, "--peak", "2", "--out", str(out), *BUDGET]
    assert main(["attack", str(AUTOENCODER), *flags]) == 0
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    adversarial = np.load(out / "x_adv.npy")
    answer = pertcore.from_onnx(AUTOENCODER)(adversarial)
    wanted = ((answer - x[:12]) ** 2).reshape(12, -1).mean(axis=1)
    np.testing.assert_allclose(rows["mse"], wanted, rtol=1e-4)
    np.testing.assert_allclose(rows["psnr_out"], 10 * np.log10(4 / wanted), atol=1e-3)
    assert "mean output PSNR (dB, peak 2)" in capfd.readouterr().out
    raised = np.array(rows["loss_after"]) > np.array(rows["loss_before"])
    np.testing.assert_array_equal(rows["success"], raised)
    assert raised.all() or name.startswith("random")


def test_several_outputs_as_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx
    from onnx import helper

    model = onnx.load(AUTOENCODER)
    before = model.graph.node[-1].input[0]
    model.graph.output.append(helper.make_tensor_value_info(before, onnx.TensorProto.FLOAT, None))
    path, names = tmp_path / "two.onnx", f"{model.graph.output[0].name},{before}"
    onnx.save(model, path)
    flags = ["--inputs", f"{DATA}:x", "--limit", "6", "--out", str(tmp_path / "out"), *BUDGET]
    chosen = ["--output", names, "--weights", "1,0.25"]
    assert main(["attack", str(path), *chosen, *flags]) == 0
    assert "mean output PSNR" in capfd.readouterr().out
    rows = parquet.read_table(tmp_path / "out" / "results.parquet").to_pydict()
    oracle = pertcore.from_onnx(path, output=names.split(","), weights=(1, 0.25))
    there = oracle(np.load(tmp_path / "out" / "x_adv.npy")) - oracle(digits()[0][:6])
    np.testing.assert_allclose(rows["loss_after"], (there**2).sum(axis=1), rtol=1e-3)
    assert main(["attack", str(path), "--output", names, "--weights", "1", *flags]) == 2
    assert "--weights" in capfd.readouterr().err


def test_eight_bits_hold_what_was_verified(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x, y = digits()
    np.save(tmp_path / "x.npy", np.rint(x[:40] * 255).astype(np.uint8))
    np.save(tmp_path / "y.npy", y[:40])
    data = ["--inputs", str(tmp_path / "x.npy"), "--scale", "1/255", "--labels"]
    command = ["attack", str(CLASSIFIER), *data, str(tmp_path / "y.npy"), "--eps", "30/255"]
    assert main([*command, "--save-8bit"]) == 2
    assert "--save-8bit needs --bounds" in capfd.readouterr().err
    more = ["--bounds", "0,1", "--save-8bit", "--batch-size", "16", "--out", str(tmp_path / "run")]
    assert main([*command, *more]) == 0
    held = np.load(tmp_path / "run" / "x_adv.npy")
    assert held.dtype == np.uint8
    rows = parquet.read_table(tmp_path / "run" / "results.parquet").to_pydict()
    model = pertcore.from_onnx(CLASSIFIER)
    read = (held * np.float64(1 / 255)).astype(np.float32)  # as --scale 1/255 would
    assert model(read).argmax(axis=1).tolist() == rows["after"] and sum(rows["success"]) > 5
    assert np.abs(held - np.rint(x[:40] * 255)).max() <= 30
    with np.load(tmp_path / "run" / "examples.npz") as shown:
        np.testing.assert_allclose(shown["x_adv"], read[shown["index"]], atol=1e-7)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "--save-8bit" in facts["command"] and facts["settings"]["levels"] == 256
