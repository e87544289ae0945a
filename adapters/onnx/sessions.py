"""Models on ONNX Runtime. Tensors between two models stay where they are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from pertcore.errors import BackendError, ModelError, PertcoreWarning
from pertcore.oracle import Array

CPU = ("CPUExecutionProvider",)
QUIET = 4


class Session:
    """One model, loaded on first use; inputs and outputs are OrtValues on the model's device."""

    def __init__(
        self, model: onnx.ModelProto, *, threads: int | None, providers: Sequence[str] | None
    ) -> None:
        self._model: onnx.ModelProto | None = model
        self._threads, self._providers = threads, list(providers or CPU)
        self._device = _device(self._providers[0])
        self._session: Any = None
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs as OrtValues, in the order of the model. Raises ModelError where it fails."""
        session = self._loaded()
        # A binding of its own for every run: a kept one would write over the results before.
        binding = session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, self._device)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:
            raise ModelError(f"ONNX Runtime: {str(error).splitlines()[0]}") from error
        return binding.get_outputs()

    def _loaded(self) -> Any:
        if self._model is not None:
            self._session = open_session(self._model, self._threads, self._providers)
            self._model = None
        return self._session


def open_session(model: onnx.ModelProto, threads: int | None, providers: Sequence[str]) -> Any:
    """An InferenceSession with every graph optimisation and without spinning threads.

    Raises ModelError where ONNX Runtime refuses the model, BackendError for a missing device.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    absent = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if absent:
        raise BackendError(
            f"providers={list(providers)}: {absent[0]} is not in this onnxruntime, which has "
            f"{onnxruntime.get_available_providers()}"
        )
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, list(providers))
    except Exception as error:
        raise ModelError(f"ONNX Runtime refuses the model: {error}") from error
    if providers[0] not in session.get_providers():
        warnings.warn(
            f"{providers[0]} could not start; the model runs on {session.get_providers()[0]}",
            PertcoreWarning,
            stacklevel=2,
        )
    return session


def _device(provider: str) -> str:
    return "cuda" if provider.startswith(("CUDA", "Tensorrt")) else "cpu"


def place(array: Array, providers: Sequence[str] | None) -> Any:
    """The array as an OrtValue; on the CPU it shares the array's memory."""
    whole = np.asarray(array, order="C")
    if providers and _device(providers[0]) != "cpu":
        return onnxruntime.OrtValue.ortvalue_from_numpy(whole, _device(providers[0]), 0)
    return onnxruntime.OrtValue.ortvalue_from_numpy(whole)
