"""A model file as it is, in a plain session of ONNX Runtime: the judge of counterexamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from pertcore.errors import CapabilityError, ModelError
from pertcore.oracle import Array

ERRORS_ALONE = 4  # of ONNX Runtime's levels of logging: fatal
TYPES = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
}


class Replay:
    """Runs one sample as flat numbers: all inputs laid side by side in the order of the model, in,
    all outputs, out. A free batch is 1; `inputs` counts the numbers, `dtype` is theirs.

    Raises ModelError where ONNX Runtime refuses the file, CapabilityError for inputs that are not
    floats of one type, or whose shape is left open beyond the batch.
    """

    def __init__(self, model: str | Path | bytes, *, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ALONE
        options.intra_op_num_threads = threads or 0
        source = model if isinstance(model, bytes) else str(model)
        providers = ["CPUExecutionProvider"]
        try:
            self._session: Any = onnxruntime.InferenceSession(source, options, providers)
        except Exception as error:
            raise ModelError(f"ONNX Runtime refuses the model: {_first_line(error)}") from error
        weights = {value.name for value in self._session.get_overridable_initializers()}
        given = [value for value in self._session.get_inputs() if value.name not in weights]
        self.shapes = {value.name: _shape(value.name, value.shape) for value in given}
        self.outputs = [value.name for value in self._session.get_outputs()]
        kinds = {TYPES.get(value.type) for value in given}
        if len(kinds) != 1 or None in kinds:
            found = ", ".join(f"{value.name} {value.type}" for value in given) or "none"
            raise CapabilityError(f"the model's inputs are {found}: floats of one type are moved")
        self.dtype: np.dtype[Any] = kinds.pop()  # type: ignore[assignment]
        self.inputs = sum(math.prod(shape) for shape in self.shapes.values())

    def __call__(self, x: Array) -> Array:
        """f(x) of one flat sample (inputs,): (outputs,) float64. Raises ModelError where it
        fails."""
        feeds, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            feeds[name] = np.ascontiguousarray(x[start:stop], self.dtype).reshape(shape)
            start = stop
        try:
            found = self._session.run(None, feeds)
            return np.concatenate([np.asarray(part, np.float64).ravel() for part in found])
        except Exception as error:
            raise ModelError(f"the model fails when it runs: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _shape(name: str, dims: Sequence[Any]) -> tuple[int, ...]:
    shape = tuple(
        d if isinstance(d, int) else 1 if place == 0 else -1 for place, d in enumerate(dims)
    )
    if any(size < 1 for size in shape):
        raise CapabilityError(
            f"input {name!r} has the shape {list(dims)}: only the batch, which comes first, may "
            "be open"
        )
    return shape
