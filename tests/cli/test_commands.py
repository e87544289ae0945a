"""The commands on the bundled models: what they print, what they leave, how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from pyarrow import parquet

import pertcore
from pertcore.adapters.onnx import kept, registry
from pertcore.cli.app import main
from pertcore.cli.arguments import OPTIONS, AttackArguments
from pertcore.demo import CLASSIFIER, DATA, digits

COMMAND = [sys.executable, "-m", "pertcore.cli.app"]
ATTACK = ["attack", str(CLASSIFIER), "--inputs", f"{DATA}:x", "--labels", f"{DATA}:y"]
BUDGET = ["--eps", "0.1", "--bounds", "0,1"]


def started(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pertcore.cli.app import main; main(['--help']);"
        "heavy = {'numpy', 'numba', 'onnx', 'onnxruntime', 'torch', 'scipy'} & set(sys.modules);"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "info", "attack", "differentiate", "falsify"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


def test_help_without_a_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: pertcore" in capfd.readouterr().out


def test_attack_help_lists_every_attack(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "--help"]) == 0
    text = capfd.readouterr().out
    for attack in pertcore.attacks.ATTACKS.values():
        assert f"  {attack.name} " in text


def test_every_option_of_every_attack_has_a_flag() -> None:
    wanted = {name for attack in pertcore.attacks.ATTACKS.values() for name in attack.options}
    assert wanted <= set(OPTIONS)


def test_attack_leaves_files_that_agree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*ATTACK, *BUDGET, "--limit", "70", "--batch-size", "32", "--out", str(out)]) == 0
    shown = capfd.readouterr()
    assert "fooling ratio" in shown.out and str(out) in shown.out
    assert sorted(p.name for p in out.iterdir()) == [
        ".lock", "examples.npz", "report.html", "results.parquet", "run.json", "x_adv.npy",
    ]  # fmt: skip
    x, y = (part[:70] for part in digits())
    x_adv = np.load(out / "x_adv.npy")
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    facts = json.loads((out / "run.json").read_text())
    delta = np.abs(x_adv.astype(np.float64) - x).reshape(70, -1).max(axis=1)
    assert x_adv.dtype == np.float32 and x_adv.shape == x.shape
    assert delta.max() <= 0.1 and x_adv.min() >= 0 and x_adv.max() <= 1
    np.testing.assert_array_equal(rows["norm"], delta)
    assert rows["index"] == list(range(70)) and rows["label"] == y.tolist()
    after = pertcore.from_onnx(CLASSIFIER)(x_adv).argmax(axis=1)
    np.testing.assert_array_equal(rows["after"], after)
    fooled = (np.array(rows["before"]) == y) & (after != y)
    np.testing.assert_array_equal(rows["success"], fooled)
    assert facts["complete"] and facts["samples_done"] == 70
    assert facts["summary"]["fooled"] == fooled.sum() > 0
    assert str(CLASSIFIER) in facts["model_sha256"] and facts["arguments"]["eps"] == "0.1"
    assert facts["command"].startswith("pertcore attack") and "--limit 70" in facts["command"]
    page = (out / "report.html").read_text()
    assert page.count("<figure ") == 12 and "--limit 70" in page


def test_batches_do_not_change_the_rows(tmp_path: Path) -> None:
    tables = []
    for size in ("17", "64"):
        out = tmp_path / size
        flags = ["--attack", "pgd", "--steps", "3", "--limit", "64", "--batch-size", size]
        assert main([*ATTACK, *BUDGET, *flags, "--deterministic", "--out", str(out)]) == 0
        tables.append(parquet.read_table(out / "results.parquet").drop_columns(["calls"]))
        tables.append(np.load(out / "x_adv.npy"))
    assert tables[0].equals(tables[2])
    np.testing.assert_array_equal(tables[1], tables[3])


@pytest.mark.parametrize("name", list(pertcore.attacks.ATTACKS))
def test_every_attack_runs(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*ATTACK, *BUDGET, "--attack", name, "--limit", "20"]) == 0
    assert "fooling ratio" in capfd.readouterr().out


def test_minimum_norm_needs_no_eps(capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--attack", "deepfool", "--norm", "2", "--bounds", "0,1", "--limit", "20"]
    assert main([*ATTACK, *flags]) == 0
    assert "median norm" in capfd.readouterr().out


def test_changed_features_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--norm", "0", "--bounds", "0,1", "--limit", "20"]
    assert main([*ATTACK, *flags, "--attack", "fmn", "--out", str(tmp_path)]) == 0
    rows = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    x, _ = digits()
    changed = (np.load(tmp_path / "x_adv.npy") != x[:20]).reshape(20, -1).sum(axis=1)
    assert rows["norm"] == changed.tolist() and max(changed) < 10
    for refused in ([*flags, "--attack", "pgd", "--eps", "1"], ["--norm", "0", "--attack", "fmn"]):
        assert main([*ATTACK, *refused]) == 2
        assert "pertcore: --norm 0" in capfd.readouterr().err


def test_mean_and_std_keep_the_units_of_x(tmp_path: Path) -> None:
    assert main([*ATTACK, *BUDGET, "--limit", "20", "--out", str(tmp_path / "a")]) == 0
    identity = ["--mean", "0", "--std", "1"]
    assert main([*ATTACK, *BUDGET, *identity, "--limit", "20", "--out", str(tmp_path / "b")]) == 0
    assert (
        main([*ATTACK, *BUDGET, "--std", "2", "--limit", "20", "--out", str(tmp_path / "c")]) == 0
    )
    same, other = np.load(tmp_path / "a/x_adv.npy"), np.load(tmp_path / "c/x_adv.npy")
    np.testing.assert_array_equal(same, np.load(tmp_path / "b/x_adv.npy"))
    assert not np.array_equal(same, other)
    assert np.abs(other - digits()[0][:20]).max() <= 0.1 + 1e-7


def test_bounds_may_be_open_on_one_side(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*ATTACK, "--eps", "0.1", "--bounds", "0,inf", "--limit", "5"]) == 0
    assert main([*ATTACK, "--eps", "0.1", "--bounds", "0.5,inf", "--limit", "5"]) == 2
    assert "outside --bounds" in capfd.readouterr().err


def test_several_models_are_an_ensemble(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls = []
    for models in ([str(CLASSIFIER)], [str(CLASSIFIER)] * 2):
        out = tmp_path / str(len(models))
        flags = ["--attack", "ensemble", "--limit", "20", "--out", str(out)]
        assert main(["attack", *models, *ATTACK[2:], *BUDGET, *flags]) == 0
        calls.append(json.loads((out / "run.json").read_text())["calls"]["vjp"])
    assert calls[1] == 2 * calls[0] > 0
    assert "digits_classifier.onnx + digits_classifier.onnx" in capfd.readouterr().out


def test_command_repeats_the_run() -> None:
    arguments = AttackArguments(models=[Path("a b.onnx")], eps="8/255", deterministic=True, seed=3)
    assert arguments.command() == (
        "pertcore attack 'a b.onnx' --eps 8/255 --seed 3 --deterministic"
    )


def test_interrupt_keeps_finished_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from pertcore.evaluation import stream

    calls = 0
    attack = stream.attack

    def interrupted(*args: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return attack(*args, **settings)

    monkeypatch.setattr(stream, "attack", interrupted)
    out = tmp_path / "run"
    assert main([*ATTACK, *BUDGET, "--batch-size", "20", "--out", str(out)]) == 130
    assert "stopped: 40 of 500 samples done" in capfd.readouterr().err
    assert np.load(out / "x_adv.npy").shape == (40, 1, 8, 8)
    assert parquet.read_table(out / "results.parquet").num_rows == 40
    facts = json.loads((out / "run.json").read_text())
    assert not facts["complete"] and (facts["samples_done"], facts["samples_asked"]) == (40, 500)
    assert not list(out.glob("*.part"))


def test_a_broken_image_keeps_finished_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for i, x in enumerate(digits()[0][:6]):
        Image.fromarray(np.round(x[0] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[:-30])
    out = tmp_path / "run"
    arguments = ["attack", str(CLASSIFIER), "--inputs", f"{tmp_path}/*.png", *BUDGET]
    assert main([*arguments, "--batch-size", "2", "--out", str(out)]) == 2
    assert "5.png: broken image file" in capfd.readouterr().err
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    assert rows["name"] == [f"{i}.png" for i in range(4)]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_control_c_in_a_real_process(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--attack", "pgd", "--steps", "2000", "--eps", "1e-6", "--batch-size", "5"]
    process = subprocess.Popen(
        [*COMMAND, *ATTACK, *flags, "--bounds", "0,1", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not list((out / "parts").glob("*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert re.search(r"stopped: \d+ of 500 samples done", told) and "Traceback" not in told
    rows = parquet.read_table(out / "results.parquet").num_rows
    assert 0 < rows < 500 and len(np.load(out / "x_adv.npy")) == rows
    assert "fooling ratio" in shown


def test_bad_input_in_a_real_process() -> None:
    done = started(*ATTACK, "--eps", "-1")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_fault_of_pertcore_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from pertcore.cli import attack as command

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr(command, "run", fails)
    monkeypatch.delenv("PERTCORE_DEBUG", raising=False)
    assert main([*ATTACK, *BUDGET]) == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1 and "ZeroDivisionError: one two" in text
    assert "PERTCORE_DEBUG=1" in text
    monkeypatch.setenv("PERTCORE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main([*ATTACK, *BUDGET])


def test_an_operator_without_a_rule_is_refused_or_approximated(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pertcore.from_onnx(CLASSIFIER)
    kept.forget()
    monkeypatch.delitem(registry.RULES, ("", "Conv"))
    assert main([*ATTACK, *BUDGET, "--limit", "4"]) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "Conv" in told
    assert main(["info", str(CLASSIFIER)]) == 0
    assert "no rule for Conv; --finite-differences" in capfd.readouterr().out
    assert main([*ATTACK, *BUDGET, "--limit", "4", "--finite-differences"]) == 0
    shown = capfd.readouterr()
    assert "approximated" in shown.out and "warning:" in shown.err


def two_inputs(room: Path) -> Path:
    """logits = flat(x) @ w + gain, with free height and width and a second input."""
    info = onnx.helper.make_tensor_value_info
    weight = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["f"]),
        onnx.helper.make_node("Add", ["f", "gain"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "g",
        [info("x", 1, ["n", 1, "h", "w"]), info("gain", 1, [10])], [info("logits", 1, ["n", 10])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.save(model, room / "two.onnx")
    return room / "two.onnx"


def test_frozen_inputs_and_free_sizes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = str(two_inputs(tmp_path))
    gain = np.zeros(10, np.float32)
    gain[4] = 1e6
    np.save(tmp_path / "gain.npy", gain)
    given = ["attack", model, "--inputs", f"{DATA}:x", "--input", "x", *BUDGET, "--limit", "9"]
    out = tmp_path / "out"
    freeze = ["--freeze", f"gain={tmp_path / 'gain.npy'}"]
    assert main([*given, *freeze, "--out", str(out)]) == 0
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    assert set(rows["before"]) == {4} and not any(rows["success"])
    assert "--freeze gain=" in json.loads((out / "run.json").read_text())["command"]
    capfd.readouterr()
    for wrong in ("gain", "gain=nowhere.npy", "loss=1"):
        assert main([*given, "--freeze", wrong]) == 2
        assert capfd.readouterr().err.count("\n") == 1
    assert main(["info", model, "--input", "x", "--input-shape", "8,8"]) == 2
    assert main(["info", model, "--input-shape", "a,b"]) == 2


def test_info_tells_of_devices_with_and_without_a_model(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["info"], ["info", str(CLASSIFIER)]):
        assert main(arguments) == 0
        shown = capfd.readouterr().out
        assert "CPUExecutionProvider" in shown and "CUDAExecutionProvider" in shown
        assert ("logits" in shown) == (len(arguments) > 1)


def test_info_of_the_classifier(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(CLASSIFIER)]) == 0
    text = capfd.readouterr().out
    for part in ("image", "logits", "Conv", "Gemm", "exact", "18"):
        assert part in text


@pytest.mark.parametrize("mode", ["vjp", "jvp", "value_and_vjp"])
def test_differentiate_writes_a_model(
    mode: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "d.onnx"
    assert main(["differentiate", str(CLASSIFIER), "--mode", mode, "-o", str(target)]) == 0
    onnx.checker.check_model(str(target), full_check=True)
    assert str(target) in capfd.readouterr().out


def test_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    assert main(["demo", "--out", str(tmp_path)]) == 0
    assert time.perf_counter() - began < 60
    shown = capfd.readouterr()
    rows = {
        line.split("│")[1].strip(): [float(n) for n in re.findall(r"([\d.]+) %", line)]
        for line in shown.out.splitlines()
        if line.count("%") == 4
    }
    assert list(rows) == ["random", "fgsm", "alg1-10", "pgd-20"]
    for k in range(4):
        assert rows["random"][k] < rows["fgsm"][k] <= rows["alg1-10"][k] + 3
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure ") == 16 and "Autoencoder" in page
    assert len(page) < 500_000


def quantised(room: Path) -> str:
    """The bundled classifier behind an image in steps of 1 / 255."""
    model = onnx.load(CLASSIFIER)
    name = model.graph.input[0].name
    steps = onnx.numpy_helper.from_array(np.array(1 / 255, np.float32), "step")
    model.graph.initializer.append(steps)
    for node in model.graph.node:
        node.input[:] = ["real" if given == name else given for given in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", [name, "step"], ["q"]))
    model.graph.node.insert(1, onnx.helper.make_node("DequantizeLinear", ["q", "step"], ["real"]))
    onnx.save(model, room / "quantised.onnx")
    return str(room / "quantised.onnx")


def test_straight_through(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Refused with the flag's name, estimated with it, and said so by every command."""
    model, made = quantised(tmp_path), str(tmp_path / "made.onnx")
    attack = ["attack", model, "--inputs", f"{DATA}:x", *BUDGET, "--limit", "9"]
    for command in (attack, ["differentiate", model, "-o", made]):
        assert main(command) == 1
        assert "--straight-through" in capfd.readouterr().err
        assert main([*command, "--straight-through"]) == 0
        capfd.readouterr()
    out = tmp_path / "out"
    assert main([*attack, "--straight-through", "--out", str(out)]) == 0
    run = json.loads((out / "run.json").read_text())
    assert "--straight-through" in run["command"]
    assert any("straight-through estimates" in note for note in run["warnings"])
    capfd.readouterr()
    assert main(["info", model, "--straight-through"]) == 0
    shown = capfd.readouterr().out
    assert "straight-through estimates" in shown and "zero by nature" not in shown
    assert main(["info", model]) == 0
    assert "zero by nature" in capfd.readouterr().out
