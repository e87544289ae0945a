"""Several outputs as one: flattened, weighted and laid side by side, each found again by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pertcore.adapters.onnx.select import FLOATS, Choice
from pertcore.adapters.onnx.untouched import UserModel
from pertcore.adapters.parts import Part, weights_by_name
from pertcore.errors import InputError
from pertcore.oracle import Array

STACKED = "pertcore_stacked"


def checked_weights(
    model: onnx.ModelProto, names: Sequence[str], weights: Mapping[str, Any] | Any | None
) -> dict[str, float]:
    """Every name with its weight, in order; weights are a sequence, or a mapping by name (else 1).

    Raises InputError for outputs the model does not have, that are not floats of one type, or are
    named twice, and for weights that are not positive numbers.
    """
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    for name in names:
        if name not in types or types[name] not in FLOATS:
            floats = [known for known, kind in types.items() if kind in FLOATS]
            raise InputError(f"output={name!r}: the model's outputs of floats: {', '.join(floats)}")
    if not names or len(set(names)) < len(names) or len({types[name] for name in names}) > 1:
        raise InputError(f"output={list(names)!r}: name outputs of one type, each once")
    return weights_by_name(names, weights)


def stacked(model: onnx.ModelProto, weights: Mapping[str, float]) -> onnx.ModelProto:
    """A copy with one more output `STACKED`: sqrt(weight) times each output, flattened, in order.

    So that a squared distance of stacked outputs is the weighted sum of the outputs' own.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, flat = copy.graph, []
    kind = next(v for v in graph.output if v.name in weights).type.tensor_type.elem_type
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for number, (name, weight) in enumerate(weights.items()):
        last = f"{STACKED}_{number}"
        graph.node.append(helper.make_node("Flatten", [name], [last], axis=1))
        if weight != 1:
            factor = numpy_helper.from_array(np.array(np.sqrt(weight), dtype), f"{last}_factor")
            graph.initializer.append(factor)
            graph.node.append(helper.make_node("Mul", [last, factor.name], [f"{last}_scaled"]))
            last = f"{last}_scaled"
        flat.append(last)
    graph.node.append(helper.make_node("Concat", flat, [STACKED], axis=1))
    graph.output.append(helper.make_tensor_value_info(STACKED, kind, [None, None]))
    return copy


def layout(
    model: onnx.ModelProto, choice: Choice, weights: Mapping[str, float], sample: Array
) -> dict[str, Part]:
    """Where each output lies in the stacked one: its shape is taken from one run at `sample`."""
    parts, begin = {}, 0
    for name, weight in weights.items():
        alone = UserModel(model, replace(choice, output=name), threads=1, providers=None)
        shape = alone(sample).shape[1:]
        end = begin + int(np.prod(shape))
        parts[name] = Part(slice(begin, end), tuple(shape), float(np.sqrt(weight)))
        begin = end
    return parts
