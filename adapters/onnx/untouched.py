"""The user's own model, as it is: the judge of every result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from pertcore.adapters.onnx.select import Choice
from pertcore.adapters.onnx.sessions import CPU, open_session

from pertcore.errors import ModelError
from pertcore.oracle import Array

OLDEST_OPSET, NEWEST_IR = 7, 10


class UserModel:
    """Runs the untouched model; a fixed batch of one sample by sample."""

    def __init__(
        self,
        model: onnx.ModelProto,
        choice: Choice,
        *,
        threads: int | None,
        providers: Sequence[str] | None,
    ) -> None:
        self._session = open_session(model, threads, providers or CPU)
        self._choice = choice
        self._single = choice.dims[0] == 1

    def __call__(self, x: Array) -> Array:
        """f(x), (n, *in) -> (n, *out)."""
        if not self._single:
            return self._run(x)
        return np.concatenate([self._run(x[i : i + 1]) for i in range(len(x))])

    def _run(self, x: Array) -> Array:
        feeds = {**self._choice.freeze, self._choice.input: x}
        try:
            return self._session.run([self._choice.output], feeds)[0]
        except Exception as error:
            raise ModelError(
                f"the model fails on an input of shape {x.shape}: {str(error).splitlines()[0]}"
            ) from error
