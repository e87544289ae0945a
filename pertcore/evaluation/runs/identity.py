"""Whether the model and the arguments of a call are those that a run was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.attacks.registry import Attack
from pertcore.errors import InputError
from pertcore.evaluation.runs.failing import FAILURES
from pertcore.oracle import Array, Oracle

SAMPLES, NUMBERS = 4, 64
# Threads and chunks change the last digits of float32, another model the first ones.
TOLERANCE = 1e-4


def answers_at(oracle: Oracle, x: Array) -> tuple[list[float] | None, list[str]]:
    """At most NUMBERS of the model's outputs at the first samples, by which it is recognised; None
    and a warning where it answers differently each time, None where it does not answer."""
    x = np.asarray(x[:SAMPLES], dtype=oracle.dtype)
    try:
        once, again = (np.ravel(oracle(x)).astype(np.float64) for _ in range(2))
    except FAILURES:
        return None, []
    if not _close(once, again):
        return None, ["the model answers differently each time: a run that is resumed cannot tell "
                      "whether it is the same model"]  # fmt: skip
    places = np.unique(np.linspace(0, len(once) - 1, NUMBERS).round().astype(int))
    return [float(once[place]) for place in places], []


def same_model(folder: Path, answers: list[float] | None) -> None:
    """Raises InputError where the run in the folder was begun with another model."""
    try:
        before = json.loads((folder / "run.json").read_text()).get("model_answers")
    except (OSError, ValueError):
        return
    if before is None or answers is None:
        return
    known = np.array([np.nan if value is None else float(value) for value in before])
    if len(known) != len(answers) or not _close(known, np.array(answers)):
        raise InputError(
            f"out={folder}: another run: the model answers the first samples otherwise than the "
            "one that the run was begun with, or the samples are others"
        )


def spelled(value: Any) -> str:
    """An argument as text that is the same in every process."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array{value.shape} of {value.dtype}, sha256 {digest[:16]}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {spelled(held)}" for name, held in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(spelled, value)) + ")"
    if isinstance(value, Attack):
        return repr(value.name)
    if value is None or isinstance(value, str | bool | int | float | np.generic):
        return repr(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"<{getattr(value, '__module__', '')}.{name}>"


def _close(one: Array, other: Array) -> bool:
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    scale = np.max(np.abs(one[finite]), initial=0.0)
    return bool(np.all(np.abs(one - other)[finite] <= TOLERANCE * scale))
