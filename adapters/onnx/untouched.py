"""The user's own model, as it is up to the chosen output: the judge of every result."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pertcore.adapters.onnx.device import read
from pertcore.adapters.onnx.foreign import pruned
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.adapters.onnx.select import HALF, SINGLE, Choice
from pertcore.adapters.onnx.sessions import CPU, open_session, refused, run_lent
from pertcore.arrays import on_device
from pertcore.oracle import Array

# ONNX Runtime knows no older one; a model of such an opset is judged after conversion.
OLDEST_OPSET = 7


class UserModel:
    """Runs the untouched model, one of a fixed batch by as many samples at a time."""

    def __init__(
        self,
        model: onnx.ModelProto,
        choice: Choice,
        *,
        threads: int | None,
        providers: Sequence[str] | None,
    ) -> None:
        self._model, self._choice = model, choice
        self._threads, self._providers = threads, providers or CPU
        inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        self._stored = helper.tensor_dtype_to_np_dtype(inputs[choice.input])
        self._width = choice.dims[0] if isinstance(choice.dims[0], int) else None
        self._session: Any = None

    def open(self) -> None:
        """Loads the model. Raises ModelError where ONNX Runtime refuses it."""
        if self._session is not None:
            return
        model = pruned(self._model, self._choice.output)
        if main_opset(model) < OLDEST_OPSET:
            model = normalise(model)[0]
        self._session = open_session(model, self._threads, self._providers)

    def rested(self) -> UserModel:
        """The same model without its session."""
        other = copy(self)
        other._session = None
        return other

    def __call__(self, x: Array) -> Array:
        """f(x), (n, *in) -> (n, *out); a float16 model is given and gives float32."""
        if self._width is None:
            return self._run(x)
        return np.concatenate([self._run(rows) for rows in runs(x, self._width)])[: len(x)]

    def _run(self, x: Array) -> Array:
        self.open()
        feeds = {**self._choice.freeze, self._choice.input: x.astype(self._stored, copy=False)}
        try:
            if on_device(x):
                value = run_lent(self._session, feeds, self._choice.output, self._providers)
                found = read(value, x)
            else:
                found = self._session.run([self._choice.output], feeds)[0]
            return found.astype(SINGLE) if found.dtype == HALF else found
        except Exception as error:
            raise refused(error, f"the model fails on an input of shape {x.shape}") from error


def runs(x: Array, width: int) -> list[Array]:
    """Batches of `width` samples; the last sample fills up the last batch."""
    filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % width, axis=0)]) if width > 1 else x
    return [filled[i : i + width] for i in range(0, len(filled), width)]
