"""Whatever is wrong: exit code 2, exactly one clear line on standard error, no output, no work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pertcore.cli.app import main
from pertcore.demo import CLASSIFIER, DATA

Room = Path
Command = Callable[[Room], list[str]]


def attack(
    *flags: str, model: Path | str = CLASSIFIER, inputs: str | None = f"{DATA}:x"
) -> list[str]:
    data = [] if inputs is None else ["--inputs", inputs]
    return ["attack", str(model), *data, "--eps", "0.1", *flags]


def saved(path: Path, array: object) -> str:
    np.save(path, np.asarray(array))
    return str(path)


def with_x(array: object, *flags: str) -> Command:
    return lambda room: attack(*flags, inputs=saved(room / "x.npy", array))


def with_labels(array: object) -> Command:
    return lambda room: attack("--labels", saved(room / "y.npy", array))


def with_model(make: Callable[[Path], Path]) -> Command:
    return lambda room: attack(model=make(room))


def a_model(
    weight: np.ndarray | None, inputs: tuple[str, ...] = ("x",), external: str = ""
) -> onnx.ModelProto:
    """logits = flat(sum of inputs) @ weight, or constant logits where there is no weight."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 1, 8, 8]) for n in inputs]
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])
    values = np.zeros((64, 10), np.float32) if weight is None else weight
    tensor = numpy_helper.from_array(values, "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", str(values.nbytes))):
            tensor.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("Sum", list(inputs), ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "g", infos, [out], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)


def truncated(room: Path) -> Path:
    (room / "m.onnx").write_bytes(CLASSIFIER.read_bytes()[:9000])
    return room / "m.onnx"


def text_file(room: Path) -> Path:
    (room / "m.onnx").write_text("dear reader,\nthis is no model\n")
    return room / "m.onnx"


def empty_file(room: Path) -> Path:
    (room / "m.onnx").write_bytes(b"")
    return room / "m.onnx"


def stored(room: Path, model: onnx.ModelProto) -> Path:
    (room / "m.onnx").write_bytes(model.SerializeToString())
    return room / "m.onnx"


def missing_weights(room: Path) -> Path:
    return stored(room, a_model(weights(), external="weights.bin"))


def weights_outside(room: Path) -> Path:
    (room / "secret.bin").write_bytes(weights().tobytes())
    (room / "inner").mkdir()
    return stored(room / "inner", a_model(weights(), external="../secret.bin"))


def several_inputs(room: Path) -> Path:
    return stored(room, a_model(weights(), ("x", "z")))


def ignores_input(room: Path) -> Path:
    return stored(room, a_model(None))


def a_file(room: Path) -> str:
    (room / "taken").write_text("a file")
    return str(room / "taken")


IMAGES = np.full((4, 1, 8, 8), 0.5, np.float32)
NAN = np.where(np.arange(256).reshape(4, 1, 8, 8) == 200, np.nan, IMAGES)

WRONG: dict[str, tuple[Command, str]] = {
    "no command": (lambda room: ["frobnicate"], "No such command 'frobnicate'"),
    "no model": (lambda room: ["attack"], "Missing argument"),
    "unknown flag": (lambda room: attack("--speed", "9"), "No such option"),
    "no inputs": (lambda room: attack(inputs=None), "--inputs is missing"),
    "no such model": (lambda room: attack(model=room / "no.onnx"), "no.onnx"),
    "no such inputs": (lambda room: attack(inputs="no.npy"), "no.npy: no such file"),
    "unknown attack": (lambda room: attack("--attack", "magic"), "--attack magic: allowed are"),
    "option of another attack": (lambda room: attack("--overshoot", "1"), "--overshoot 1"),
    "unknown loss": (lambda room: attack("--loss", "joy"), "--loss joy"),
    "not a number": (lambda room: attack("--step-size", "big"), "--step-size big"),
    "zero steps": (lambda room: attack("--steps", "0"), "--steps 0"),
    "labels too large": (with_labels([10] * 500), "label 10 of sample 0 is outside 0..9"),
    "labels below zero": (with_labels([0, -1] * 250), "label -1 of sample 1"),
    "labels too few": (with_labels([1, 2, 3]), "3 labels for 500 samples"),
    "labels as text": (with_labels(["one"] * 500), "expected numbers"),
    "outside bounds": (with_x(IMAGES * 4, "--bounds", "0,1"), "sample 0 holds 2, outside --bounds"),
    "bounds reversed": (lambda room: attack("--bounds", "1,0"), "--bounds 1,0"),
    "bounds of no numbers": (lambda room: attack("--bounds", "0-1"), "expected lowest,highest"),
    "bounds of three": (lambda room: attack("--bounds", "0,1,2"), "--bounds 0,1,2"),
    "nan": (with_x(NAN), "sample 3 holds nan (entry 8"),
    "eps negative": (lambda room: attack("--eps", "-1/255"), "--eps -0.0039"),
    "eps no number": (lambda room: attack("--eps", "much"), "--eps much"),
    "norm below one": (lambda room: attack("--norm", "0.5"), "--norm 0.5"),
    "wrong rank": (with_x(np.zeros((4, 8))), "wrong rank"),
    "wrong size": (with_x(np.zeros((4, 1, 9, 9))), "resize or crop"),
    "channels first already": (with_x(np.zeros((4, 1, 8, 8)), "--layout", "whcn"), "--layout whcn"),
    "integers": (with_x((IMAGES * 255).astype(np.uint8)), "give --scale"),
    "strings": (with_x([["a", "b"]]), "expected numbers"),
    "empty": (with_x(np.zeros((0, 1, 8, 8))), "empty data set"),
    "limit": (lambda room: attack("--limit", "0"), "--limit 0"),
    "batch size": (lambda room: attack("--batch-size", "0"), "--batch-size 0"),
    "threads": (lambda room: attack("--threads", "0"), "--threads 0"),
    "out is empty": (lambda room: attack("--out", ""), "--out is empty"),
    "target": (lambda room: attack("--target", "10"), "--target 10: the model has classes 0..9"),
    "everybody is at the target": (
        lambda room: attack("--target", f"{DATA}:y", "--labels", f"{DATA}:y"), "every sample has",
    ),
    "target of a regression": (
        lambda room: attack("--target", "1", "--task", "regression"), "not a regression",
    ),
    "partition": (
        lambda room: attack("--attack", "pixel", "--partition", "rows"), "--partition rows",
    ),
    "pixels in l2": (lambda room: attack("--attack", "pixel", "--norm", "2"), "linf"),
    "std": (lambda room: attack("--std", "0"), "--std 0"),
    "out is a file": (lambda room: attack("--out", a_file(room)), "cannot write there"),
    "out below a file": (lambda room: attack("--out", a_file(room) + "/x"), "cannot write there"),
    "truncated model": (with_model(truncated), "m.onnx"),
    "text for a model": (with_model(text_file), "m.onnx"),
    "empty model": (with_model(empty_file), "m.onnx"),
    "missing weights": (with_model(missing_weights), "weights.bin"),
    "weights outside": (with_model(weights_outside), "secret.bin"),
    "several inputs": (with_model(several_inputs), "x, z"),
    "ignores its input": (with_model(ignores_input), "ignores its input"),
    "no such input name": (lambda room: attack("--input", "sound"), "sound"),
    "no such output name": (lambda room: attack("--output", "sound"), "sound"),
    "info of text": (lambda room: ["info", str(text_file(room))], "m.onnx"),
    "differentiate mode": (
        lambda room: ["differentiate", str(CLASSIFIER), "--mode", "vhp", "-o", f"{room}/d.onnx"],
        "--mode vhp: allowed are",
    ),
    "differentiate into a folder": (
        lambda room: ["differentiate", str(CLASSIFIER), "-o", str(room)], "is a folder",
    ),
    "differentiate onto itself": (
        lambda room: ["differentiate", str(text_file(room)), "-o", str(room / "m.onnx")],
        "overwrite the model itself",
    ),
    "demo out": (lambda room: ["demo", "--out", a_file(room)], "cannot write there"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_one_line_and_code_two(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command, expected = WRONG[name]
    assert main(command(tmp_path)) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("pertcore: ") and expected in lines[0], lines[0]


def test_out_is_tried_before_any_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = attack(
        "--out", a_file(tmp_path), model=tmp_path / "missing.onnx", inputs="none.npy"
    )
    assert main(arguments) == 2
    assert "cannot write there" in capfd.readouterr().err
