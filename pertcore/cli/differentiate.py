"""`pertcore differentiate`: the derivative graph as an ordinary ONNX file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pertcore
from pertcore.adapters.onnx.differentiate import MODES
from pertcore.cli.console import say, warn
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.records import ready_folder


def run(
    model: Path,
    out: str,
    mode: Any,
    inputs: list[str] | None,
    outputs: list[str] | None,
    straight_through: bool,
) -> None:
    """Differentiate and write; the target is tried before any work."""
    if mode not in MODES:
        raise InputError(f"--mode {mode}: allowed are {', '.join(MODES)}")
    target = Path(out)
    if target.is_dir():
        raise InputError(f"--out {out}: is a folder, expected a file such as {target.name}.onnx")
    ready_folder(target.parent)
    if target.exists() and model.exists() and target.samefile(model):
        raise InputError(f"--out {out}: would overwrite the model itself")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PertcoreWarning)
        made = pertcore.differentiate(
            model,
            mode=mode,
            wrt=inputs or None,
            outputs=outputs or None,
            straight_through=straight_through,
        )
    warn(str(w.message) for w in caught if issubclass(w.category, PertcoreWarning))
    say(f"written to {made.save(target)}: {', '.join(made.inputs)} -> {', '.join(made.outputs)}")
