"""Operators without a rule of their own, written out by the function body of their schema."""

from __future__ import annotations

from typing import Any

import onnx

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.export import node_proto, type_proto
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node


def expandable(op: str, domain: str, opset: int) -> bool:
    """Whether an operator has no rule but a function body."""
    if domain or registry.fact(op) != "unknown":
        return False
    try:
        schema: Any = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def body(graph: Graph, node: Node) -> onnx.FunctionProto | None:
    """The function body of a node at the graph's opset, None where it has none that fits."""
    if not expandable(node.op, node.domain, graph.opset):
        return None
    schema: Any = onnx.defs.get_schema(node.op, graph.opset, "")
    function = onnx.FunctionProto()
    if schema.has_function:
        version = _newest(schema.function_opset_versions, graph.opset)
        content = schema.get_function_with_opset_version(version)
    else:
        version = _newest(schema.context_dependent_function_opset_versions, graph.opset)
        types = [type_proto(graph.types[n]) if n else onnx.TypeProto() for n in node.inputs]
        content = schema.get_context_dependent_function_with_opset_version(
            version, node_proto(node).SerializeToString(), [t.SerializeToString() for t in types]
        )
    if not content:
        return None
    function.ParseFromString(content)
    return (
        function if all(_means_the_same(n, version, graph.opset) for n in function.node) else None
    )


def _newest(versions: Any, opset: int) -> int:
    return max((v for v in versions if v <= opset), default=min(versions))


def _means_the_same(node: onnx.NodeProto, written: int, emitted: int) -> bool:
    """Whether an operator of the body can be emitted as it is."""
    inner = [n for a in node.attribute for n in a.g.node]
    if node.domain or not all(_means_the_same(n, written, emitted) for n in inner):
        return False
    old = onnx.defs.get_schema(node.op_type, max(written, 1), "")
    new = onnx.defs.get_schema(node.op_type, emitted, "")
    known = all(a.name in new.attributes for a in node.attribute)
    fits = known and new.min_input <= len(node.input) <= new.max_input
    return old.since_version == new.since_version or fits


def resolved(node: onnx.NodeProto, outer: dict[str, Any], op: str, opset: int) -> onnx.NodeProto:
    """A node of a body with the attributes it takes from the node that is expanded."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    del made.attribute[:]
    defaults = onnx.defs.get_schema(op, opset, "").attributes
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH and not attribute.ref_attr_name:
            made.attribute.append(_resolved_graph(attribute, outer, op, opset))
        elif not attribute.ref_attr_name:
            made.attribute.append(attribute)
        elif attribute.ref_attr_name in outer:
            value = outer[attribute.ref_attr_name]
            made.attribute.append(onnx.helper.make_attribute(attribute.name, value))
        elif defaults[attribute.ref_attr_name].default_value.type:
            value = onnx.helper.get_attribute_value(defaults[attribute.ref_attr_name].default_value)
            made.attribute.append(onnx.helper.make_attribute(attribute.name, value))
    return made


def _resolved_graph(
    attribute: onnx.AttributeProto, outer: dict[str, Any], op: str, opset: int
) -> onnx.AttributeProto:
    made = onnx.AttributeProto()
    made.CopyFrom(attribute)
    nodes = [resolved(node, outer, op, opset) for node in attribute.g.node]
    del made.g.node[:]
    made.g.node.extend(nodes)
    return made
