"""A graph as an ONNX model: nodes, the constants that are used, named inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pertcore.adapters.onnx import apart
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Body, Node, Type, every_node, live_nodes
from pertcore.adapters.onnx.registry import STRAIGHT
from pertcore.adapters.onnx.symbolic import Poly
from pertcore.oracle import Array

IR_VERSION = 10
PRODUCER = "pertcore"
# Bytes of a weight from which it is written in place.
LEAST_PLACED = 1 << 12
LOSING = frozenset(("Resize", "Reshape", "Expand"))


def node_proto(node: Node, names: Mapping[str, str] | None = None) -> onnx.NodeProto:
    """The node in ONNX's form, its tensors renamed by `names`."""
    names = names or {}
    proto = helper.make_node(
        node.op,
        [names.get(name, name) for name in node.inputs],
        [names.get(name, name) for name in node.outputs],
        domain=None if node.domain in ("", STRAIGHT) else node.domain,
    )
    proto.attribute.extend(_attribute(key, value) for key, value in node.attrs.items())
    return proto


def _attribute(key: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, Body):
        return helper.make_attribute(key, _inner_graph(value))
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    if isinstance(value, list | tuple) and not value:
        return helper.make_attribute(key, [], attr_type=onnx.AttributeProto.INTS)
    return helper.make_attribute(key, value)


def _inner_graph(body: Body) -> onnx.GraphProto:
    """A body; an output that none of its own nodes makes, or that is given twice, is copied."""
    graph, nodes = body.graph, []
    made = {name for node in body.graph.nodes for name in node.outputs}
    outputs: list[str] = []
    for value in body.outputs:
        name = value
        if value not in made or value in outputs:
            name = f"{value}.{len(outputs)}.{graph.fresh('out')}"
            nodes.append(Node("Identity", (value,), [name], {}))
        outputs.append(name)
    return helper.make_graph(
        [node_proto(node) for node in [*graph.nodes, *nodes]],
        "inner",
        [helper.make_value_info(name, type_proto(graph.types[name])) for name in graph.inputs],
        [
            helper.make_value_info(name, type_proto(Type(graph.types[value].dtype, None)))
            for name, value in zip(outputs, body.outputs, strict=True)
        ],
    )


def type_proto(kind: Type) -> onnx.TypeProto:
    """The tensor type; symbols are spelled as dimension parameters."""
    element = helper.np_dtype_to_tensor_dtype(kind.dtype)
    if kind.shape is None:
        return helper.make_tensor_type_proto(element, None)
    dims = [str(d) if isinstance(d, Poly) else d for d in kind.shape]
    return helper.make_tensor_type_proto(element, dims)


def _constants(graph: Graph, nodes: Sequence[Node]) -> Iterator[str]:
    for node in every_node(nodes):
        given = [name for body in node.bodies for name in body.outputs]
        yield from (name for name in [*node.inputs, *given] if name in graph.constants)


def _sizes_lost(
    graph: Graph, nodes: Sequence[Node], names: Mapping[str, str]
) -> list[onnx.ValueInfoProto]:
    """The types of maps whose batch ONNX's own inference loses sight of; ONNX Runtime leaves its
    blocked layout where it cannot tell that two batches are the same."""
    lost = [node.outputs[0] for node in nodes if node.op in LOSING and not node.domain]
    maps = [name for name in lost if name not in names and len(graph.types[name].shape or ()) == 4]
    return [helper.make_value_info(name, type_proto(graph.types[name])) for name in maps]


def _given(
    graph: Graph, name: str, value: str, docs: Mapping[str, str] | None
) -> onnx.ValueInfoProto:
    text = (docs or {}).get(name, "")
    return helper.make_value_info(name, type_proto(graph.types[value]), doc_string=text)


def _add_weights(graph: onnx.GraphProto, arrays: Mapping[str, Array]) -> None:
    """The constants; where they are many, large ones are stubs of arrays that the graph keeps.

    Written in place: a list of tensors would be copied into the graph, and that into the model.
    """
    many = sum(array.nbytes for array in arrays.values()) > apart.MOST_INSIDE
    for name, array in arrays.items():
        if many and array.nbytes >= apart.LEAST_APART:
            graph.initializer.append(apart.stub(name, array))
        elif array.nbytes >= LEAST_PLACED and array.dtype.kind in "fiu":
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor = graph.initializer.add(name=name, data_type=kind, dims=array.shape)
            tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        else:
            graph.initializer.append(numpy_helper.from_array(array, name))


def export(
    graph: Graph,
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[tuple[str, str]],
    *,
    doc: str = "",
    docs: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Model with `inputs` (values of the graph, by name) and `outputs` ((name, value) pairs),
    described by `doc`, and each of them by `docs`.

    A value that is an input, a constant or given out twice is passed through an Identity.
    """
    names: dict[str, str] = {}
    extra = []
    captured = {name for node in nodes for name in node.captures}
    for name, value in outputs:
        if (
            value in {*names, *inputs}
            or value in graph.constants
            or (value in captured and name != value)
        ):
            extra.append(Node("Identity", (value,), [name], {}))
        else:
            names[value] = name
    kept = live_nodes(nodes, [value for _, value in outputs]) + extra
    used = dict.fromkeys(_constants(graph, kept))
    body = helper.make_graph(
        [node_proto(node, names) for node in kept],
        PRODUCER,
        [_given(graph, name, name, docs) for name in inputs],
        [_given(graph, name, value, docs) for name, value in outputs],
        value_info=_sizes_lost(graph, kept, names),
    )
    domains = {node.domain for node in kept} - {"", STRAIGHT}
    versions = {"": graph.opset, **{domain: graph.imports.get(domain, 1) for domain in domains}}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = helper.make_model(body, opset_imports=imports, producer_name=PRODUCER, doc_string=doc)
    model.ir_version = IR_VERSION
    _add_weights(model.graph, {name: graph.constants[name] for name in used})
    return model
