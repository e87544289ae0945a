"""Models on ONNX Runtime. Tensors between two models stay where they are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as pybind

from pertcore.adapters.onnx import apart, blocks
from pertcore.errors import BackendError, CapabilityError, ModelError, PertcoreWarning
from pertcore.oracle import Array

Rewrite = Callable[[onnx.ModelProto], onnx.ModelProto]

CPU = ("CPUExecutionProvider",)
MISSING = re.compile(r"Could not find an implementation for (?P<op>\w+)\(\d+\)")


class Session:
    """One model, loaded on first use; inputs and outputs stay on the model's device."""

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        threads: int | None,
        providers: Sequence[str] | None,
        rewrite: Rewrite | None = None,
    ) -> None:
        self._model: onnx.ModelProto | None = model
        self._rewrite = rewrite
        self._threads, self._providers = threads, list(providers or CPU)
        self._session: Any = None
        self._options = onnxruntime.RunOptions()
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._devices = [_device(self._providers[0])] * len(self.outputs)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs as values of ONNX Runtime, in the order of the model, whose `numpy()` is an
        array. Raises ModelError where the run fails."""
        session = self.load()
        # Vectors cost half of what bindings do, which is what small models spend most time on.
        given, made = pybind.OrtValueVector(), pybind.OrtValueVector()
        for value in feeds.values():
            given.push_back(value.value if isinstance(value, Placed) else value)
        try:
            session.run_with_ortvaluevector(
                self._options, list(feeds), given, self.outputs, made, self._devices
            )
        except Exception as error:
            raise ModelError(f"ONNX Runtime: {str(error).splitlines()[0]}") from error
        # By index: the end of an iteration is an exception in C++, some 40 us.
        return [made[i] for i in range(len(self.outputs))]

    def load(self) -> Any:
        """The session, opened when it is first needed."""
        if self._model is not None:
            self._session = open_session(
                self._model, self._threads, self._providers, rewrite=self._rewrite
            )
            self._model = None
        return self._session


def open_session(
    model: onnx.ModelProto,
    threads: int | None,
    providers: Sequence[str],
    *,
    rewrite: Rewrite | None = None,
) -> Any:
    """An InferenceSession with every graph optimisation and without spinning threads; `rewrite`
    has the last word on the optimised model.

    Raises ModelError where ONNX Runtime refuses the model, BackendError for a missing device.
    """
    rewrite = None if apart.any_apart(model) else rewrite
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if rewrite else level.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = blocks.QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    absent = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if absent:
        raise BackendError(
            f"providers={list(providers)}: {absent[0]} is not in this onnxruntime, which has "
            f"{onnxruntime.get_available_providers()}"
        )
    held = apart.shared(model, options)
    try:
        model = rewrite(blocks.optimised(model)) if rewrite else model
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, list(providers))
    except Exception as error:
        _refuse_without_kernel(model, str(error))
        raise ModelError(f"ONNX Runtime refuses the model: {error}") from error
    session.held = held
    if providers[0] not in session.get_providers():
        warnings.warn(
            f"{providers[0]} could not start; the model runs on {session.get_providers()[0]}",
            PertcoreWarning,
            stacklevel=2,
        )
    return session


def _refuse_without_kernel(model: onnx.ModelProto, reason: str) -> None:
    """Raises CapabilityError where the reason is an operator that no provider can run."""
    found = MISSING.search(reason)
    if found is None:
        return
    double = onnx.TensorProto.DOUBLE
    kinds = [value.type.tensor_type.elem_type for value in model.graph.input]
    wide = double in kinds or any(t.data_type == double for t in model.graph.initializer)
    kind, cure = ("float64 ", "; convert the model to float32") if wide else ("", "")
    raise CapabilityError(f"this onnxruntime has no {kind}kernel for {found['op']}{cure}")


def _on_gpu(provider: str) -> bool:
    return provider.startswith(("CUDA", "Tensorrt"))


@cache
def _device(provider: str) -> Any:
    """The device that a provider computes on, in ONNX Runtime's own form."""
    kind = pybind.OrtDevice.cuda() if _on_gpu(provider) else pybind.OrtDevice.cpu()
    return pybind.OrtDevice(kind, pybind.OrtDevice.default_memory(), 0)


class Placed:
    """An array as a value of ONNX Runtime, which on the CPU is the array's own memory."""

    __slots__ = ("array", "value")

    def __init__(self, array: Array, provider: str) -> None:
        self.array = array
        self.value = pybind.OrtValue.ortvalue_from_numpy(array, _device(provider))

    def numpy(self) -> Array:
        return self.array


def place(array: Array, providers: Sequence[str] | None) -> Placed:
    """The array as a value on the device of the first of `providers`."""
    return Placed(np.asarray(array, order="C"), providers[0] if providers else CPU[0])
