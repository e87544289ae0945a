"""`pertcore info`: what a model takes and gives, what is exact, and the devices."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pertcore.adapters.onnx.build import ESTIMATE
from pertcore.adapters.onnx.describe import ModelInfo, TensorInfo, describe
from pertcore.adapters.onnx.providers import providers
from pertcore.cli.console import say, show_facts, show_table
from pertcore.cli.flags import as_flags
from pertcore.errors import InputError, PertcoreWarning

MEANING = {
    "rule": "exact",
    "zero": "zero by nature",
    "unknown": "no rule",
    "estimate": "straight-through",
}
BATCH = {
    "free": "any number of samples at once",
    "lifted": "fixed in the file; freed, and checked against the file",
    "looped": "fixed in the file; samples run as many at a time as it takes",
    "fixed": "fixed in the file",
}


def run(
    model: Path | None,
    input: str | None,
    output: str | None,
    input_shape: str | None,
    straight_through: bool,
) -> None:
    """Print inputs, outputs, operators with their derivative rules, and what is approximated; then,
    or alone where no model is given, the devices."""
    if model is not None:
        _tell(model, input, output, input_shape, straight_through)
    show_facts("Devices", providers())


def _tell(
    model: Path,
    input: str | None,
    output: str | None,
    input_shape: str | None,
    straight_through: bool,
) -> None:
    chosen: dict[str, Any] = {"input": input, "output": output}
    chosen["straight_through"] = straight_through
    if input_shape is not None:
        chosen["input_shape"] = _sizes(input_shape)
    with warnings.catch_warnings():
        # what it warns of is in the notes already
        warnings.simplefilter("ignore", PertcoreWarning)
        info = describe(model, **chosen)
    show_facts(str(model), facts(info))
    rows = [(entry.name, str(entry.count), MEANING[entry.fact]) for entry in info.operators]
    show_table("Operators", ("operator", "nodes", "derivative"), rows)
    for note in info.notes:
        say(f"note: {as_flags(note)}")


def facts(info: ModelInfo) -> dict[str, str]:
    """The head of the listing, a line a fact."""
    lines = {f"input {tensor.name}": _spelled(tensor) for tensor in info.inputs}
    lines |= {f"output {tensor.name}": _spelled(tensor) for tensor in info.outputs}
    return lines | {
        "opset": f"{info.opset} (IR version {info.ir_version})",
        "parameters": f"{info.parameters:,}",
        "batch": BATCH[info.batch],
        "derivatives": _derivatives(info),
    }


def _derivatives(info: ModelInfo) -> str:
    if info.exact:
        return "exact"
    if any(note == ESTIMATE for note in info.notes):
        return "straight-through estimates"
    missing = [entry.name for entry in info.operators if entry.fact == "unknown"]
    if missing:
        return f"no rule for {', '.join(missing)}; --finite-differences approximates it"
    return "every operator has a rule; not built, see the note"


def _spelled(tensor: TensorInfo) -> str:
    return f"{tensor.dtype} ({', '.join(str(size) for size in tensor.shape)})"


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(f"--input-shape {text}: expected sizes of one sample such as 3,64,64")
    return sizes
