"""What ONNX Runtime says of an operator that is no ONNX standard: whether it runs it, and the
types of what it makes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as binary

from pertcore.adapters.onnx.blocks import QUIET
from pertcore.adapters.onnx.export import IR_VERSION, node_proto, type_proto
from pertcore.adapters.onnx.nodes import Node, Type
from pertcore.adapters.onnx.sessions import CPU
from pertcore.adapters.onnx.symbolic import Poly, evaluate, symbol, symbols
from pertcore.errors import ModelError

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph

logger = logging.getLogger(__name__)
# Sizes of every free dimension at which an operator is watched.
SIZES = (2, 3)
# The element types of ONNX Runtime's tensors that NumPy calls by another name.
NAMES = {"float": "float32", "double": "float64", "string": "object"}


@cache
def _kernels() -> frozenset[tuple[str, str]]:
    found = binary.get_all_opkernel_def()
    return frozenset((k.domain, k.op_name) for k in found if k.provider == CPU[0])


def runs(op: str, domain: str) -> bool:
    """Whether ONNX Runtime's CPU has the operator."""
    return (domain, op) in _kernels()


def infer(graph: Graph, node: Node) -> list[Type]:
    """Types of a node's outputs, by a model of that node alone.

    Raises ModelError where ONNX Runtime refuses the node.
    """
    spelled = {
        str(dim): dim
        for name in node.inputs
        if name
        for dim in graph.types[name].shape or ()
        if isinstance(dim, Poly)
    }
    try:
        session = onnxruntime.InferenceSession(
            _alone(graph, node).SerializeToString(), _options(), list(CPU)
        )
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{node.op} {node.label!r}: no types can be inferred: {reason}") from error
    shapes = [tuple(_dim(graph, dim, spelled) for dim in made.shape) for made in _made(session)]
    if not all(shapes):
        shapes = _observed(graph, session, spelled)
    return [Type(_dtype(made), shape) for made, shape in zip(_made(session), shapes, strict=True)]


def _made(session: Any) -> list[Any]:
    return list(session.get_outputs())


def _observed(graph: Graph, session: Any, spelled: dict[str, Poly]) -> list[Any]:
    """Shapes seen in runs on zeros at two sizes of every symbol; None where it does not run."""
    seen = []
    for size in SIZES:
        feeds = {}
        for given in session.get_inputs():
            kind = graph.types[given.name]
            dims = [_sized(dim, size) for dim in kind.shape or ()]
            feeds[given.name] = np.zeros(dims, kind.dtype)
        try:
            seen.append([np.shape(array) for array in session.run(None, feeds)])
        except Exception as error:  # noqa: BLE001  whatever an operator makes of zeros
            logger.info("no shapes to be seen: %s", error)
            return [None] * len(_made(session))
    return [_between(graph, *pair, spelled) for pair in zip(seen[0], seen[1], strict=True)]


def _sized(dim: int | Poly, size: int) -> int:
    return evaluate(dim, dict.fromkeys(symbols(dim), size))


def _between(
    graph: Graph, first: Sequence[int], second: Sequence[int], spelled: dict[str, Poly]
) -> tuple[int | Poly, ...] | None:
    if len(first) != len(second):
        return None
    dims: list[int | Poly] = []
    for pair in zip(first, second):
        fitting = [p for p in spelled.values() if pair == tuple(_sized(p, s) for s in SIZES)]
        moving = [*fitting, symbol(f"?{next(graph.numbers)}")][0]
        dims.append(pair[0] if pair[0] == pair[1] else moving)
    return tuple(dims)


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = QUIET, 1
    return options


def _alone(graph: Graph, node: Node) -> onnx.ModelProto:
    """The node as a model, its outputs without types."""
    names = [name for name in dict.fromkeys(node.inputs) if name]
    weights = [name for name in names if name in graph.constants]
    values = [
        helper.make_value_info(name, type_proto(graph.types[name]))
        for name in names
        if name not in graph.constants
    ]
    body = helper.make_graph(
        [node_proto(node)],
        "alone",
        values,
        [onnx.ValueInfoProto(name=name) for name in node.outputs],
        [numpy_helper.from_array(graph.constants[name], name) for name in weights],
    )
    versions = {"": graph.opset, node.domain: graph.imports.get(node.domain, 1)}
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = helper.make_model(body, opset_imports=imports)
    model.ir_version = IR_VERSION
    return model


def _dtype(made: Any) -> np.dtype[Any]:
    kind, _, rest = made.type.partition("(")
    element = rest.rstrip(")")
    if kind != "tensor":
        raise ModelError(f"{made.name!r} is a {made.type}, not a tensor")
    return np.dtype(NAMES.get(element, element))


def _dim(graph: Graph, dim: Any, spelled: dict[str, Poly]) -> int | Poly:
    if isinstance(dim, int):
        return dim
    return spelled.get(dim) or symbol(f"?{next(graph.numbers)}")
