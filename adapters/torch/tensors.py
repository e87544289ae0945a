"""Between arrays and tensors: no copy on the CPU where nobody can write into the other's memory,
and none through the host where tensors or CuPy arrays come and go."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from pertcore.adapters.shapes import as_batch
from pertcore.arrays import on_device
from pertcore.errors import InputError
from pertcore.oracle import Array

DTYPES: dict[np.dtype[Any], torch.dtype] = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
NUMPY: dict[torch.dtype, np.dtype[Any]] = {kind: dtype for dtype, kind in DTYPES.items()}


def there(values: Any, dtype: Any, device: torch.device, name: str) -> torch.Tensor | None:
    """The memory of a tensor or CuPy array as a tensor of that dtype; None for other arrays.

    DLPack makes the streams of both wait for each other. Raises InputError where the model is on
    another device.
    """
    if not isinstance(values, torch.Tensor) and not on_device(values):
        return None
    tensor = values.detach() if isinstance(values, torch.Tensor) else torch.from_dlpack(values)
    here = torch.empty(0, device=device).device
    if tensor.device != here:
        raise InputError(
            f"{name} is on {tensor.device} and the model on {here}: move the one to the other"
        )
    return tensor.to(DTYPES[np.dtype(dtype)])


def batch_of(x: Any, shape: tuple[int, ...], dtype: Any, device: torch.device) -> Any:
    """x checked as (n, *shape): a tensor on the device for tensors and CuPy arrays, else NumPy."""
    tensor = there(x, dtype, device, "x")
    if tensor is None:
        return as_batch(x, shape, dtype)
    if tensor.shape[1:] != shape or tensor.ndim != len(shape) + 1:
        raise InputError(
            f"x has shape {tuple(tensor.shape)}: this model takes (n, {', '.join(map(str, shape))})"
            ", samples along the first axis"
        )
    return tensor


def back(tensor: torch.Tensor, like: Any, *givers: Any) -> Any:
    """The tensor as an array of the kind of `like`; no memory is shared with one of `givers`."""
    if not isinstance(like, torch.Tensor) and not on_device(like):
        return as_array(tensor, *givers)
    made = tensor.detach().contiguous()
    used = made.untyped_storage().data_ptr()
    if any(torch.from_dlpack(g).untyped_storage().data_ptr() == used for g in givers):
        made = made.clone()
    return made if isinstance(like, torch.Tensor) else sys.modules["cupy"].from_dlpack(made)


def as_tensor(array: Array, device: torch.device, layout: torch.memory_format) -> torch.Tensor:
    """The array on the device: its own memory through DLPack where the layout allows."""
    return laid(torch.from_dlpack(array).to(device), layout)


def laid(tensor: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """The tensor in that memory format, which is for four axes alone."""
    fits = layout == torch.contiguous_format or tensor.ndim == 4
    return tensor.contiguous(memory_format=layout) if fits else tensor.contiguous()


def as_array(tensor: torch.Tensor, *givers: Array) -> Array:
    """A C-contiguous array; copied only where it would share memory with one of `givers`."""
    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return array.copy() if any(np.may_share_memory(array, given) for given in givers) else array


def owned(batch: Array, device: torch.device, layout: torch.memory_format) -> torch.Tensor:
    """A tensor of its own that requires a gradient: a graph holds it after `batch` changed."""
    there = torch.from_dlpack(batch).to(device, copy=True)
    return laid(there, layout).requires_grad_()


def layout_of(roots: tuple[torch.nn.Module, ...]) -> torch.memory_format:
    """channels_last where the modules' filters are laid out so, else contiguous."""
    filters = [p for root in roots for p in root.parameters() if p.ndim == 4]
    last = [
        f.is_contiguous(memory_format=torch.channels_last) and not f.is_contiguous()
        for f in filters
    ]
    return torch.channels_last if any(last) else torch.contiguous_format


def settings_of(
    roots: tuple[torch.nn.Module, ...], dtype: Any, device: Any
) -> tuple[np.dtype[Any], torch.device]:
    """dtype and device: as given, else those of the parameters and buffers, else float32, CPU.

    Raises InputError where they lie on several devices and none is named, hold no values, or are
    of another float type than the inputs would be.
    """
    tensors = [t for root in roots for t in (*root.parameters(), *root.buffers())]
    devices = list(dict.fromkeys(t.device for t in tensors))
    if any(d.type == "meta" for d in devices):
        raise InputError("the module's parameters are on the meta device: load its weights first")
    if device is None and len(devices) > 1:
        raise InputError(f"the module lies on {devices}: say which takes the input, device=...")
    place = torch.device(device if device is not None else devices[0] if devices else "cpu")
    return _dtype(tensors, dtype), place


def _dtype(tensors: list[torch.Tensor], dtype: Any) -> np.dtype[Any]:
    floats = list(dict.fromkeys(t.dtype for t in tensors if t.dtype.is_floating_point))
    other = [kind for kind in floats if kind not in NUMPY]
    if other and dtype is None:
        raise InputError(
            f"the module computes in {other[0]}: inputs and gradients are float32 or float64; "
            "give copy.deepcopy(module).float(), or say dtype= where the module converts itself"
        )
    if dtype is None:
        return NUMPY[floats[0]] if floats else np.dtype(np.float32)
    wanted = NUMPY.get(dtype) if isinstance(dtype, torch.dtype) else np.dtype(dtype)
    if wanted not in DTYPES:
        raise InputError(f"dtype={dtype}: allowed are float32 and float64")
    if floats and not other and DTYPES[wanted] not in floats:
        raise InputError(
            f"dtype={wanted}, but the module's parameters are {floats[0]}: leave dtype out, or "
            f"give a converted copy, copy.deepcopy(module).to({DTYPES[wanted]})"
        )
    return wanted
