"""Which input moves, which output is looked at, what the other inputs are frozen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from pertcore.adapters.onnx.bounds import check_sample
from pertcore.adapters.onnx.reemit import input_dims
from pertcore.adapters.onnx.symbolic import Poly
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Array

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)
WORKING = (HALF, SINGLE, np.dtype(np.float64))
EXAMPLE_SIZE = 64
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class Choice:
    """One input that moves, its dimensions (batch first); one output; the rest frozen.

    `dtype` is the type that is worked with: float32 for a float16 input.
    """

    input: str
    dims: tuple[int | Poly, ...]
    dtype: np.dtype[Any]
    output: str
    freeze: dict[str, Array]


def choose(
    model: onnx.ModelProto,
    *,
    input: str | None,
    output: str | None,
    freeze: Mapping[str, Any] | None,
    input_shape: Sequence[int] | None,
) -> Choice:
    """Checks the caller's choice against the model; initialisers listed as inputs are weights.

    Raises InputError naming inputs or outputs to choose from, CapabilityError for a float input of
    another type than float16, float32 and float64.
    """
    inputs = free_inputs(model)
    frozen = _frozen(inputs, freeze or {})
    open_names = [name for name in inputs if name not in frozen]
    name = _picked(open_names, input, "input")
    rest = [other for other in open_names if other != name]
    if rest:
        raise InputError(
            f"the model has several inputs, {', '.join(map(_described, inputs.values()))}: "
            f"choose one with input= and give values for {', '.join(rest)} with "
            "freeze={name: array}"
        )
    chosen = _picked_output(model, output)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type))
    _check_dtype(name, dtype)
    working = SINGLE if dtype == HALF else dtype
    return Choice(name, _dims(inputs[name], input_shape), working, chosen, frozen)


def free_inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Graph inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in weights}


def _picked(names: Sequence[str], wanted: str | None, what: str) -> str:
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{what}={wanted!r}: the model has {', '.join(names)}")
        return wanted
    if not names:
        raise InputError(f"the model has no {what} that is left free")
    if len(names) > 1:
        raise InputError(f"the model has several {what}s, {', '.join(names)}: pick one by {what}=")
    return names[0]


def _picked_output(model: onnx.ModelProto, wanted: str | None) -> str:
    """Beside labels and indices, the one output of floats needs no choice."""
    names = [value.name for value in model.graph.output]
    elements = [value.type.tensor_type.elem_type for value in model.graph.output]
    floats = [n for n, e in zip(names, elements, strict=True) if e in FLOATS]
    return _picked(floats if len(floats) == 1 and wanted is None else names, wanted, "output")


def _frozen(inputs: Mapping[str, Any], freeze: Mapping[str, Any]) -> dict[str, Array]:
    found = {}
    for name, given in freeze.items():
        if name not in inputs:
            raise InputError(f"freeze: the model has no input {name!r}, it has {', '.join(inputs)}")
        dtype = helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type)
        array = np.asarray(given)
        if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, dtype, "same_kind"):
            raise InputError(f"freeze: {name!r} has dtype {array.dtype}, the model takes {dtype}")
        dims = input_dims(inputs[name])
        fits = array.ndim == len(dims) and all(
            isinstance(d, Poly) or d == s for d, s in zip(dims, array.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"freeze: {name!r} has shape {array.shape}, "
                f"the model takes {_described(inputs[name])}"
            )
        found[name] = array.astype(dtype)
    return found


def _described(value: onnx.ValueInfoProto) -> str:
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return f"{value.name} {dtype}({', '.join(map(str, input_dims(value)))})"


def _check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype in WORKING:
        return
    if dtype.kind == "f" or dtype.name.startswith(("bfloat", "float")):
        raise CapabilityError(
            f"input {name!r} is {dtype}: float16, float32 and float64 models are differentiated; "
            "convert the model to float32"
        )
    raise InputError(
        f"input {name!r} is {dtype}, and only a float input has a derivative: choose another with "
        "input= and freeze this one with freeze={name: array}"
    )


def _example(sample: Sequence[int | Poly]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else EXAMPLE_SIZE for dim in sample)


def _dims(value: onnx.ValueInfoProto, input_shape: Sequence[int] | None) -> tuple[int | Poly, ...]:
    batch, *sample = input_dims(value) or [1]
    if input_shape is not None:
        given = tuple(int(size) for size in input_shape)
        fits = len(given) == len(sample) and all(
            isinstance(d, Poly) or d == s for d, s in zip(sample, given, strict=True)
        )
        if not fits:
            raise InputError(f"input_shape={given}: one sample of the model is {_described(value)}")
        sample = list(given)
    free = [str(dim) for dim in sample if isinstance(dim, Poly)]
    if free:
        raise InputError(
            f"input {_described(value)} has the free dimensions {', '.join(free)}: "
            f"give the shape of one sample, as in input_shape={_example(sample)}"
        )
    check_sample(value.name, (batch, *sample))
    if not value.type.tensor_type.shape.dim:
        raise InputError(f"input {value.name!r} has no batch axis")
    return (batch, *sample)
