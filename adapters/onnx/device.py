"""CuPy arrays as inputs and outputs of ONNX Runtime: the same memory, no copy through the host."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as pybind

from pertcore.arrays import on_device
from pertcore.errors import InputError
from pertcore.oracle import Array


def check_place(array: Any, provider: str, *, what: str, gpu: bool) -> None:
    """Raises InputError for a CuPy array that is not on the device of the model."""
    if not on_device(array):
        return
    number = array.device.id
    if not gpu or number != 0:
        where = "CUDA device 0" if gpu else f"the CPU ({provider})"
        raise InputError(
            f"{what} is on CUDA device {number} and the model runs on {where}: move the one to the "
            "other (from_onnx(..., providers=['CUDAExecutionProvider']), or cupy.asnumpy)"
        )


class Lent:
    """A CuPy array that ONNX Runtime reads where it is."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def bind(self, binding: Any, name: str, device: Any) -> None:
        """Makes it the input `name`; the array outlives the run."""
        array = self.array
        binding.bind_input(name, device, array.dtype, list(array.shape), array.data.ptr)


def run_bound(
    session: Any, feeds: Mapping[str, Any], outputs: Sequence[str], device: Any, options: Any
) -> list[Any]:
    """The outputs as values on the device. Feeds are `Lent`, values of ONNX Runtime, or NumPy
    arrays, which it copies there.

    What the current stream of CuPy still writes is waited for, and so is the run.
    """
    sys.modules["cupy"].cuda.get_current_stream().synchronize()
    binding = pybind.SessionIOBinding(session._sess)
    for name, value in feeds.items():
        if isinstance(value, Lent):
            value.bind(binding, name, device)
        elif isinstance(value, np.ndarray):
            binding.bind_input(name, value)
        else:
            binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, device)
    session._sess.run_with_iobinding(binding, options)
    binding.synchronize_outputs()
    made = binding.get_outputs()
    return [made[i] for i in range(len(outputs))]


def read(value: Any, like: Array) -> Any:
    """A value of ONNX Runtime as an array of the kind of `like`: a view on the device, or NumPy."""
    if isinstance(value, Lent):
        return value.array
    return as_cupy(value) if on_device(like) else value.numpy()


def as_cupy(value: Any) -> Any:
    """The memory of a value on the device as a CuPy array, which keeps the value alive."""
    cupy = sys.modules["cupy"]
    shape = tuple(value.shape())
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(value.element_type()))
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return cupy.empty(shape, dtype)
    memory = cupy.cuda.UnownedMemory(value.data_ptr(), size, value, 0)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
