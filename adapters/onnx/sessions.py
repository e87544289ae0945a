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
from pertcore.adapters.onnx.device import Lent, check_place, run_bound
from pertcore.adapters.onnx.providers import CUDA
from pertcore.adapters.onnx.providers import providers as describe
from pertcore.arrays import on_device
from pertcore.errors import (
    BackendError,
    CapabilityError,
    DeviceMemoryError,
    ModelError,
    PertcoreWarning,
)
from pertcore.oracle import Array

Rewrite = Callable[[onnx.ModelProto], onnx.ModelProto]

CPU = ("CPUExecutionProvider",)
FULL = re.compile(r"Failed to allocate memory|CUDA failure 2\b|out of memory", re.IGNORECASE)
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
        self._gpu = on_gpu(self._providers[0])
        self._options = onnxruntime.RunOptions()
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._places = range(len(self.outputs))
        self._devices = [_device(self._providers[0])] * len(self.outputs)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Outputs as values of ONNX Runtime, in the order of the model, whose `numpy()` is an
        array. Raises ModelError where the run fails."""
        session = self._session or self.load()
        try:
            if self._gpu:
                return self._run_on_device(session, feeds)
            made = session._sess.run_with_ort_values(feeds, self.outputs, self._options)
            # By index: the end of an iteration is an exception in C++, some 40 us.
            return [made[i] for i in self._places]
        except Exception as error:
            raise refused(error, "ONNX Runtime") from error

    def _run_on_device(self, session: Any, feeds: Mapping[str, Any]) -> list[Any]:
        if any(isinstance(value, Lent) for value in feeds.values()):
            return run_bound(session, feeds, self.outputs, self._devices[0], self._options)
        given, made = pybind.OrtValueVector(), pybind.OrtValueVector()
        for value in feeds.values():
            given.push_back(value)
        session.run_with_ortvaluevector(
            self._options, list(feeds), given, self.outputs, made, self._devices
        )
        return [made[i] for i in self._places]

    def load(self) -> Any:
        """The session, opened when it is first needed."""
        if self._model is not None:
            self._session = open_session(
                self._model, self._threads, self._providers, rewrite=self._rewrite
            )
            self._model = None
        return self._session


class Bound:
    """A session whose inputs and outputs stay where they are: a call copies one input, `moving`, to
    its place and the first output out of it. One thread at a time."""

    def __init__(
        self, session: Session, feeds: Mapping[str, Any], moving: str, made: Mapping[str, Any]
    ) -> None:
        opened = session.load()._sess
        self._binding = pybind.SessionIOBinding(opened)
        for name, value in feeds.items():
            self._binding.bind_ortvalue_input(name, value)
        for name in session.outputs:
            self._binding.bind_ortvalue_output(name, made[name])
        self._run, self._options = opened.run_with_iobinding, session._options
        self._given, self._made = feeds[moving].numpy(), made[session.outputs[0]].numpy()

    def __call__(self, array: Array) -> Array:
        """The first output for that input. Raises ModelError where the run fails."""
        self._given[...] = array
        try:
            self._run(self._binding, self._options)
        except Exception as error:
            raise refused(error, "ONNX Runtime") from error
        return self._made.copy()


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
            f"{providers[0]} could not start; the model runs on {session.get_providers()[0]}"
            f"{_reason(providers[0])}",
            PertcoreWarning,
            stacklevel=2,
        )
    return session


def _reason(provider: str) -> str:
    """Why it could not start, where that is found out."""
    return f" ({provider}: {describe()[CUDA]})" if provider == CUDA else ""


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


def on_gpu(provider: str) -> bool:
    """Whether its inputs and outputs lie on a CUDA device."""
    return provider.startswith(("CUDA", "Tensorrt"))


@cache
def _device(provider: str) -> Any:
    """The device that a provider computes on, in ONNX Runtime's own form."""
    kind = pybind.OrtDevice.cuda() if on_gpu(provider) else pybind.OrtDevice.cpu()
    return pybind.OrtDevice(kind, pybind.OrtDevice.default_memory(), 0)


def place(array: Array, providers: Sequence[str] | None) -> Any:
    """The array as a value on the device of the first of `providers`; CuPy arrays are lent. On the
    CPU a C-contiguous array stays where it is, and has to outlive the value."""
    if on_device(array):
        return Lent(array)
    return pybind.OrtValue.ortvalue_from_numpy(array, _device(first(providers)))


def place_copy(array: Array, providers: Sequence[str] | None) -> Any:
    """The same with memory of its own, which a value on the device has anyhow."""
    if on_device(array):
        return Lent(array.copy())
    if on_gpu(first(providers)):
        return place(array, providers)
    made = pybind.OrtValue.ortvalue_from_shape_and_type(
        list(array.shape), array.dtype, _device(first(providers))
    )
    made.update_inplace(array)
    return made


@cache
def shares_memory() -> bool:
    """Whether an array of a value on the CPU is the value's own memory, as `Bound` takes it."""
    value = place_copy(np.zeros(1), None)
    return bool(value.numpy().ctypes.data == value.data_ptr())


def first(providers: Sequence[str] | None) -> str:
    """The provider that runs what it can of a model."""
    return providers[0] if providers else CPU[0]


def check_device(array: Any, providers: Sequence[str] | None, what: str) -> None:
    """Raises InputError for a CuPy array where the model does not run on its device."""
    check_place(array, first(providers), what=what, gpu=on_gpu(first(providers)))


def run_lent(
    session: Any, feeds: Mapping[str, Any], output: str, providers: Sequence[str] | None
) -> Any:
    """One output of a session whose inputs are CuPy or NumPy arrays, as a value on the device."""
    lent = {name: Lent(array) if on_device(array) else array for name, array in feeds.items()}
    return run_bound(session, lent, [output], _device(first(providers)), None)[0]


def refused(error: Exception, what: str) -> BackendError | ModelError:
    """A failed run by its name: DeviceMemoryError where a device had no room, else ModelError."""
    said = str(error).splitlines()[0]
    if FULL.search(str(error)):
        return DeviceMemoryError(f"{what}: the device has no room for this batch ({said})")
    return ModelError(f"{what}: {said}")
