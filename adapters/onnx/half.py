"""float16 models are differentiated in float32: their weights become float32 without rounding.

Half-precision arithmetic would cost a derivative all but three digits, and overflow beyond 65504;
ONNX Runtime's CPU computes in float32 between roundings anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from pertcore.adapters.onnx import apart
from pertcore.adapters.onnx.inspection import inner_graphs, tensors
from pertcore.adapters.onnx.select import HALF, SINGLE, Choice

NARROW, WIDE = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
# Attributes that name an element type.
NAMING = ("to", "dtype", "output_dtype")
NOTE = (
    "the model is float16: its derivatives are computed in float32, its values in float16 by the "
    "file itself"
)


def is_half(model: onnx.ModelProto) -> bool:
    """Whether anything in the model is float16."""
    graphs = list(_graphs(model))
    typed = any(kind.elem_type == NARROW for graph in graphs for kind in _types(graph))
    named = any(_names_half(attribute) for attribute in _attributes(model))
    return typed or named or any(tensor.data_type == NARROW for tensor in tensors(model))


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float32 in place of float16, inputs and outputs included."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in tensors(made):
        if tensor.data_type == NARROW and apart.is_apart(tensor):
            apart.spill(tensor, apart.array_of(tensor).astype(np.float32))
        elif tensor.data_type == NARROW:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for attribute in _attributes(made):
        if _names_half(attribute):
            attribute.i = WIDE
    for graph in _graphs(made):
        for kind in _types(graph):
            kind.elem_type = WIDE if kind.elem_type == NARROW else kind.elem_type
    return made


def twin(model: onnx.ModelProto, choice: Choice) -> tuple[onnx.ModelProto, Choice]:
    """The widened model and the same choice in it; both as they are where nothing is float16."""
    if not is_half(model):
        return model, choice
    freeze = {k: v.astype(SINGLE) if v.dtype == HALF else v for k, v in choice.freeze.items()}
    return widened(model), replace(choice, freeze=freeze)


def _names_half(attribute: onnx.AttributeProto) -> bool:
    return attribute.name in NAMING and attribute.i == NARROW


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _attributes(model: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    for node in _nodes(model):
        yield from node.attribute


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph of the model and those inside it."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting.extend(inner_graphs(attribute))


def _types(graph: onnx.GraphProto) -> Iterator[onnx.TypeProto.Tensor]:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.HasField("tensor_type"):
            yield value.type.tensor_type
