"""A model file becomes a Graph: inputs chosen, others frozen, every node emitted anew."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pertcore.adapters.onnx import expansion, lifting, quotients, registry
from pertcore.adapters.onnx import foreign as foreign_operators
from pertcore.adapters.onnx.apart import array_of
from pertcore.adapters.onnx.bounds import blamed, check_turns, check_work
from pertcore.adapters.onnx.control import traced
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.inspection import tensors
from pertcore.adapters.onnx.nodes import Node, Type
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.symbolic import BATCH, Poly, symbol
from pertcore.errors import CapabilityError
from pertcore.oracle import Array

logger = logging.getLogger(__name__)
LEAD = "K"
CONTROL = ("Scan", "Loop", "If")
Trace = Callable[[Graph, Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class Primal:
    """A graph built anew: `values` maps tensor names of the file to values of the graph."""

    graph: Graph
    values: dict[str, str]
    inputs: tuple[str, ...]


def reemit(
    model: onnx.ModelProto,
    opset: int,
    shapes: Mapping[str, Sequence[int | Poly]],
    *,
    freeze: Mapping[str, Array],
    lift: int = 0,
    straight: bool = False,
    narrow: Container[str] = (),
    unruled: Literal["refuse", "difference", "keep"] = "refuse",
) -> Primal:
    """Emits a normalised model. `shapes` holds the inputs that stay inputs and their dimensions;
    `freeze` the others. With `lift`, reshapes written for that many samples carry the batch N; with
    `straight`, roundings and quantisation get straight-through estimates. Inputs named in `narrow`
    come in as float16 and are cast. `unruled` says what becomes of operators without a rule: they
    are refused, differenced on their own, or kept, in a graph that only shows its sizes.

    Raises CapabilityError naming every operator that cannot be emitted, and the alternative.
    """
    if unruled == "refuse":
        _refuse_foreign(model, opset)
    imports = {_domain(entry.domain): entry.version for entry in model.opset_import}
    graph = Graph(opset=opset, straight=straight, unruled=unruled, imports=imports)
    values: dict[str, str] = {}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    for name, shape in shapes.items():
        dtype = helper.tensor_dtype_to_np_dtype(types[name])
        values[name] = graph.input(name, np.float16 if name in narrow else dtype, shape)
        if name in narrow:
            (values[name],) = graph.emit("Cast", (name,), {"to": types[name]})
    for name, array in freeze.items():
        values[name] = graph.constant(array)
    for tensor in model.graph.initializer:
        if tensor.name not in values:
            values[tensor.name] = graph.constant(array_of(tensor))
    for proto in model.graph.node:
        if any(name and name not in values for name in proto.input):
            continue  # It follows an output that is no number, such as the label of a class.
        with blamed(proto.op_type, proto.name or proto.output[0]):
            _emit(graph, proto, values, lift)
    check_work(graph, sum(math.prod(tensor.dims) for tensor in tensors(model)))
    return Primal(graph, values, tuple(shapes))


def _emit(graph: Graph, proto: onnx.NodeProto, values: dict[str, str], lift: int) -> None:
    attrs = {a.name: attribute_value(a) for a in proto.attribute}
    attrs.update(_traces(proto, values))
    if proto.op_type == "Constant":
        values[proto.output[0]] = graph.constant(_constant(attrs))
        return
    inputs = [values[name] if name else "" for name in proto.input]
    while inputs and not inputs[-1]:
        inputs.pop()
    outputs = list(proto.output)
    while outputs and not outputs[-1]:
        outputs.pop()
    label = proto.name or (outputs[0] if outputs else proto.op_type)
    node = Node(proto.op_type, tuple(inputs), outputs, attrs, _domain(proto.domain), label)
    made = _made(graph, node, lift)
    values.update({name: new for name, new in zip(outputs, made, strict=True) if name and new})


def _made(graph: Graph, node: Node, lift: int) -> Sequence[str]:
    """The node's outputs, also where it has no rule and that is no reason to refuse it."""
    unknown = registry.fact(node.op, node.domain) == "unknown"
    if graph.unruled == "refuse" or (not node.domain and node.op in CONTROL):
        return _written(graph, node, lift)
    if not unknown or expansion.expandable(node.op, node.domain, graph.opset):
        try:
            return _written(graph, node, lift)
        except CapabilityError as error:
            logger.info("%s", error)
    if graph.unruled == "difference":
        return quotients.written(graph, node)
    return _kept(graph, node)


def _written(graph: Graph, node: Node, lift: int) -> Sequence[str]:
    """The node's outputs: written in other operators, by its function body, or as it is."""
    if node.op in CONTROL and not node.domain:
        return _control(graph, node)
    lowered = _lowered(graph, node)
    if lowered is not None:
        return lowered
    function = expansion.body(graph, node)
    if function is not None:
        return _emit_body(graph, node, function, lift)
    return _kept(graph, lifting.lifted(graph, node, lift) if lift else node)


def _kept(graph: Graph, node: Node) -> Sequence[str]:
    count = len(node.outputs)
    return graph.emit(
        node.op, node.inputs, node.attrs, outputs=count, domain=node.domain, label=node.label
    )


def _traces(proto: onnx.NodeProto, outer: Mapping[str, str]) -> dict[str, Trace]:
    """The inner graphs of a node, each as a function that emits it."""
    graphs = {a.name: a.g for a in proto.attribute if a.type == onnx.AttributeProto.GRAPH}
    return {name: _trace(inner, dict(outer)) for name, inner in graphs.items()}


def _trace(proto: onnx.GraphProto, outer: dict[str, str]) -> Trace:
    def trace(graph: Graph, inputs: Sequence[str]) -> list[str]:
        given = [value.name for value in proto.input]
        values = outer | dict(zip(given, inputs, strict=True))
        for tensor in proto.initializer:
            values[tensor.name] = graph.constant(array_of(tensor))
        for node in proto.node:
            _emit(graph, node, values, lift=0)
        return [values[output.name] for output in proto.output]

    return trace


def _control(graph: Graph, node: Node) -> Sequence[str]:
    """Scan, Loop or If; one with a constant condition is its branch."""
    names = [name for name in ("body", "then_branch", "else_branch") if name in node.attrs]
    if node.op == "If":
        condition = graph.value(node.inputs[0])
        if condition is not None:
            return node.attrs["then_branch" if condition.all() else "else_branch"](graph, [])
    kinds = [graph.types[name] for name in node.inputs if name]
    if node.op == "Loop":
        number, truth = Type(np.dtype(np.int64), ()), Type(np.dtype(bool), ())
        kinds = [number, truth, *(graph.types[name] for name in node.inputs[2:])]
    elif node.op == "Scan":
        kinds = _slices(node, kinds)
    else:
        kinds = []
    bodies: dict[str, Any] = {name: traced(graph, kinds, node.attrs[name]) for name in names}
    attrs = node.attrs | bodies
    if node.op == "Loop":
        check_turns(graph, replace(node, attrs=attrs))
    return graph.emit(node.op, node.inputs, attrs, outputs=len(node.outputs), label=node.label)


def _slices(node: Node, kinds: Sequence[Type]) -> list[Type]:
    count = node.attrs["num_scan_inputs"]
    read, found = kinds[len(kinds) - count :], list(kinds[: len(kinds) - count])
    for kind, axis in zip(read, node.attrs.get("scan_input_axes") or [0] * count, strict=True):
        shape = list(kind.shape or ())
        del shape[axis]
        found.append(Type(kind.dtype, tuple(shape)))
    return found


def _lowered(graph: Graph, node: Node) -> Sequence[str] | None:
    write = registry.lowering(node.op, node.domain)
    if graph.straight:
        write = registry.estimate(node.op, node.domain) or write
    found = write(Op(graph), View(Op(graph), node, set())) if write is not None else None
    if found is None:
        return None
    made = [found] if isinstance(found, Tensor) else list(found)
    names = ["" if tensor is None else tensor.name for tensor in made[: len(node.outputs)]]
    return names + [""] * (len(node.outputs) - len(names))


def _emit_body(
    graph: Graph, node: Node, function: onnx.FunctionProto, lift: int
) -> tuple[str, ...]:
    inner = {"": "", **dict.fromkeys(function.input, "")}
    inner.update(zip(function.input, node.inputs))
    for proto in function.node:
        whole = expansion.resolved(proto, node.attrs, node.op, graph.opset)
        whole.name = node.label
        _emit(graph, whole, inner, lift)
    return tuple(inner.get(name, "") for name in function.output[: len(node.outputs)])


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def attribute_value(attribute: onnx.AttributeProto) -> Any:
    """The attribute as a plain Python value; tensors as arrays, bytes as text."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.GraphProto | onnx.TypeProto):
        return None
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float):
        return value
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]


def _constant(attrs: dict[str, Any]) -> Array:
    (key, value), *_ = attrs.items()
    if key == "value":
        return np.asarray(value)
    return np.asarray(
        value, dtype=np.int64 if "int" in key else np.float32 if "float" in key else object
    )


def _refuse_foreign(model: onnx.ModelProto, opset: int) -> None:
    """Raises CapabilityError naming the operators that cannot be emitted, with advice."""
    foreign = [node for node in model.graph.node if not emittable(node, opset)]
    if not foreign:
        return
    found: dict[str, list[str]] = {}
    for node in model.graph.node:
        domain = _domain(node.domain)
        known = registry.fact(node.op_type, domain) != "unknown"
        known = known or expansion.expandable(node.op_type, domain, opset)
        if node in foreign or not known:
            kind = f"{domain}::{node.op_type}".removeprefix("::")
            found.setdefault(kind, []).append(node.name or node.output[0])
    listed = ", ".join(f"{kind} ({', '.join(names[:3])})" for kind, names in found.items())
    zero = all(registry.fact(*kind.split("::")[::-1]) == "zero" for kind in found)
    reason = "the gradient is identically zero through" if zero else "no derivative rule for"
    hints = [text for text in (foreign_operators.advice(found),) if text]
    raise CapabilityError(
        "; ".join(
            [
                f"{reason} {listed}",
                *hints,
                "finite_differences=True approximates the derivative of the whole model instead",
            ]
        )
    )


def emittable(node: onnx.NodeProto, opset: int) -> bool:
    """Whether a node, and those of its inner graphs, are standard operators, or written in such."""
    if node.op_type in CONTROL and not _domain(node.domain):
        inner = [n for a in node.attribute for n in a.g.node]
        return all(emittable(n, opset) for n in inner)
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if registry.lowering(node.op_type, _domain(node.domain)) is not None:
        return True
    if any(attribute.type in graphs for attribute in node.attribute):
        return False
    if _domain(node.domain):
        return foreign_operators.taken(node.op_type, node.domain)
    try:
        onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True


def input_dims(value: onnx.ValueInfoProto, batch: str | None = None) -> list[int | Poly]:
    """Dimensions of a graph input; a free one is a symbol, named as in the file or by its place.

    A free first axis is the batch N; `batch`, where given, is the file's name for it, and a first
    axis of another name is something else.
    """
    dims: list[int | Poly] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(int(dim.dim_value))
        elif (axis == 0 and batch is None) or (batch and dim.dim_param == batch):
            dims.append(symbol(BATCH))
        else:
            plain = dim.dim_param.isidentifier() and dim.dim_param not in (BATCH, LEAD)
            dims.append(symbol(dim.dim_param if plain else f"{value.name}.{axis}"))
    return dims


def batch_name(values: Iterable[onnx.ValueInfoProto]) -> str | None:
    """The name that the file gives to the first free first axis, None where it gives none."""
    firsts = [value.type.tensor_type.shape.dim[:1] for value in values]
    return next((dims[0].dim_param for dims in firsts if dims and dims[0].dim_param), None)
