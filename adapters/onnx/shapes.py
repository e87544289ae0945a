"""Element types and dimensions of what a node makes, symbols carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pertcore.adapters.onnx import bounds
from pertcore.adapters.onnx.known import Known, Unknown
from pertcore.adapters.onnx.nodes import Node, Type
from pertcore.adapters.onnx.registry import STRAIGHT
from pertcore.adapters.onnx.shape_rules import RULES
from pertcore.adapters.onnx.symbolic import Poly, symbol
from pertcore.errors import ModelError

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph


def infer(graph: Graph, node: Node) -> list[Type]:
    """Types of all outputs of `node`. Raises ModelError where the node contradicts itself or
    asks for a tensor beyond all bounds."""
    kinds = _inferred(graph, node)
    bounds.check(node, kinds)
    return kinds


def _inferred(graph: Graph, node: Node) -> list[Type]:
    rule = RULES.get(node.op) if node.domain in ("", STRAIGHT) else None
    if rule is not None:
        try:
            known = Known(graph, node)
            kinds = [Type(np.dtype(d), tuple(s)) for d, s in rule(known)]
            if len(kinds) >= len(node.outputs):
                return kinds[: len(node.outputs)]
        except Unknown:
            pass
        except (LookupError, ValueError, ArithmeticError, TypeError) as error:
            raise ModelError(f"{node.op} {node.label!r} has impossible shapes: {error}") from error
    if node.domain not in ("", STRAIGHT):
        from pertcore.adapters.onnx import runtime

        return runtime.infer(graph, node)
    return _by_onnx(graph, node)


def _by_onnx(graph: Graph, node: Node) -> list[Type]:
    """ONNX's inference; dimensions it cannot tell become fresh symbols."""
    import onnx

    from pertcore.adapters.onnx.export import node_proto, type_proto

    given = {n: type_proto(graph.types[n]) for n in node.inputs if n}
    data = {
        n: onnx.numpy_helper.from_array(graph.constants[n], n)
        for n in given
        if n in graph.constants
    }
    spelled = {str(d): d for n in given for d in graph.types[n].shape or () if isinstance(d, Poly)}
    try:
        schema = onnx.defs.get_schema(node.op, graph.opset, node.domain)
        imports = [onnx.helper.make_opsetid(node.domain, graph.opset)]
        made = onnx.shape_inference.infer_node_outputs(
            schema, node_proto(node), given, data, opset_imports=imports
        )
    except Exception as error:
        raise ModelError(f"{node.op} {node.label!r}: no types can be inferred: {error}") from error
    kinds = []
    for name in node.outputs:
        kind = made[name].tensor_type if name in made else given[next(iter(given))].tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = None
        if name in made and kind.HasField("shape"):
            shape = tuple(_dim(graph, d, spelled) for d in kind.shape.dim)
        kinds.append(Type(np.dtype(dtype), shape))
    return kinds


def _dim(graph: Graph, proto: Any, spelled: dict[str, Poly]) -> int | Poly:
    if proto.HasField("dim_value"):
        return int(proto.dim_value)
    if proto.dim_param in spelled:
        return spelled[proto.dim_param]
    return symbol(f"?{next(graph.numbers)}")
