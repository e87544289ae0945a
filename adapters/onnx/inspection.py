"""What a file must fulfil before anything is built from it: whole tensors, known operators with
attributes of the right types, names made once and before they are used, functions that end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx
from onnx import checker, helper, numpy_helper

from pertcore.adapters.onnx.apart import is_apart
from pertcore.errors import ModelError

# Inner graphs inside inner graphs; nodes that the functions of a file may write out.
DEEPEST, MOST_NODES = 16, 50_000
STANDARD = ("", "ai.onnx")
# Operators that ONNX Runtime has in ONNX's domain at opsets that do not know them.
MISPLACED = frozenset(("LayerNormalization", "SimplifiedLayerNormalization"))
RUNTIME_OWN = {(domain, name) for domain in STANDARD for name in MISPLACED}
# What the type of an attribute may be.
KINDS = frozenset(onnx.AttributeProto.AttributeType.values())


def inspect(model: onnx.ModelProto) -> None:
    """Raises ModelError with the first thing that is wrong with a model whose weights are read."""
    _check_opsets(model)
    _check_functions(model)
    for tensor in tensors(model):
        check_tensor(tensor)
    if not model.graph.output:
        raise ModelError("the model has no outputs: it may be cut off")
    _check_inputs(model.graph)
    context = _context(model)
    local = {(f.domain, f.name) for f in model.functions}
    _check_graph(model.graph, set(), context, local)
    for function in model.functions:
        for node in function.node:
            _check_words(node)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every dense tensor in the file: weights, attributes, those of inner graphs and functions.

    Raises ModelError for sparse weights and for graphs nested too deep.
    """
    yield from _tensors_of_graph(model.graph, 0)
    for function in model.functions:
        for node in function.node:
            yield from _tensors_of_node(node, 0)


def _tensors_of_graph(graph: onnx.GraphProto, depth: int) -> Iterator[onnx.TensorProto]:
    if depth > DEEPEST:
        raise ModelError(f"the model nests graphs more than {DEEPEST} deep")
    if graph.sparse_initializer:
        raise ModelError("the model has sparse weights: store them as dense tensors")
    yield from graph.initializer
    for node in graph.node:
        yield from _tensors_of_node(node, depth)


def _tensors_of_node(node: onnx.NodeProto, depth: int) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise ModelError(f"{_named(node)} has sparse values: store them as dense tensors")
        for inner in inner_graphs(attribute):
            yield from _tensors_of_graph(inner, depth + 1)


def inner_graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _check_opsets(model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not 0 <= model.ir_version < 2**31:
        raise ModelError(f"the model has the format version {model.ir_version}")
    for entry in model.opset_import:
        top = newest if entry.domain in STANDARD else 2**31 - 1
        if not isinstance(entry.domain, str):
            raise ModelError(f"a name in the model is no text: {entry.domain!r}")
        if not 1 <= entry.version <= top:
            raise ModelError(
                f"the model asks for opset {entry.version} of {entry.domain or 'ai.onnx'!r}: "
                f"this onnx {onnx.__version__} knows 1 to {newest}"
            )


def _check_functions(model: onnx.ModelProto) -> None:
    """Counts what inlining would write out, before it does."""
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Sequence[onnx.NodeProto], above: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in above:
                raise ModelError(f"the function {key[1]!r} of the model calls itself")
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*above, key))
            total += sizes.get(key, 1)
            for attribute in node.attribute:
                total += sum(size(inner.node, above) for inner in inner_graphs(attribute))
        if total > MOST_NODES and bodies:
            raise ModelError(f"the functions of the model write out more than {MOST_NODES} nodes")
        return total

    try:
        size(model.graph.node, ())
    except RecursionError:
        raise ModelError("the functions of the model are nested too deep") from None


def check_tensor(tensor: onnx.TensorProto) -> None:
    """Raises ModelError unless the values fill the dimensions."""
    name = f"weights {tensor.name!r}"
    if is_apart(tensor):
        return
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{name} have a negative dimension: {list(tensor.dims)}")
    try:
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        stored, count = len(tensor.raw_data), 1
        for dim in tensor.dims:
            count *= dim
        whole = tensor.data_type < onnx.TensorProto.FLOAT8E4M3FN
        if stored and whole and stored != count * size:
            raise ModelError(
                f"{name} hold {stored} bytes, {list(tensor.dims)} needs {count * size}"
            )
        numpy_helper.to_array(tensor)
    except ModelError:
        raise
    except Exception as error:  # whatever ONNX's reader makes of broken bytes
        raise ModelError(f"{name} are incomplete: {error}") from error


def _check_inputs(graph: onnx.GraphProto) -> None:
    """Inputs that are not weights are tensors of a known type."""
    weights = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in weights:
            continue
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value") or "nothing"
            raise ModelError(f"input {value.name!r} is a {kind}, not a tensor")
        element = value.type.tensor_type.elem_type
        try:
            helper.tensor_dtype_to_np_dtype(element)
        except (KeyError, ValueError, TypeError):
            raise ModelError(f"input {value.name!r} has unknown element type {element}") from None


def _context(model: onnx.ModelProto) -> Any:
    context: Any = checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {
        "" if entry.domain in STANDARD else entry.domain: entry.version
        for entry in model.opset_import
    }
    return context


def _check_graph(
    graph: onnx.GraphProto, outer: set[str], context: Any, local: set[tuple[str, str]]
) -> None:
    """Every tensor that is used is made before, and made once; nodes fit their operators."""
    given = [value.name for value in graph.input]
    free = [dim.dim_param for v in graph.input for dim in v.type.tensor_type.shape.dim]
    _check_text([*given, *free, *(part.name for part in (*graph.output, *graph.initializer))])
    doubled = [name for name in given if given.count(name) > 1]
    made = {*given, *(t.name for t in graph.initializer)}
    unchecked = local | RUNTIME_OWN
    for node in graph.node:
        missing = [n for n in node.input if n and n not in made and n not in outer]
        if missing:
            raise ModelError(
                f"{_named(node)} uses {missing[0]!r}, which nothing before it makes: "
                "weights are missing, or the graph is cyclic or cut off"
            )
        _check_words(node)
        if (node.domain, node.op_type) not in unchecked:
            _check_node(node, context)
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                _check_graph(inner, made | outer, context, local)
        names = [name for name in node.output if name]
        doubled += [name for name in names if name in made or names.count(name) > 1]
        made.update(names)
    if doubled:
        raise ModelError(f"two tensors are called {doubled[0]!r}")
    absent = [value.name for value in graph.output if value.name not in made | outer]
    if absent:
        raise ModelError(f"output {absent[0]!r} is made by no node: the model may be cut off")


def _check_text(words: Iterable[Any]) -> None:
    broken = [word for word in words if not isinstance(word, str)]
    if broken:
        raise ModelError(f"a name in the model is no text: {broken[0]!r}")


def _check_words(node: onnx.NodeProto) -> None:
    """Bytes that are no text come out of protobuf as bytes."""
    words = [node.op_type, node.domain, node.name, *node.input, *node.output]
    words += [attribute.name for attribute in node.attribute]
    _check_text(words)
    for attribute in node.attribute:
        typed = attribute.type in KINDS and attribute.type != onnx.AttributeProto.UNDEFINED
        if not typed and not attribute.ref_attr_name:
            raise ModelError(f"{_named(node)}: attribute {attribute.name!r} has no known type")


def _check_node(node: onnx.NodeProto, context: Any) -> None:
    """Operator, number of inputs and types of attributes, by ONNX's own schemas."""
    _check_variadic(node, context.opset_imports.get("", 0))
    if any(inner_graphs(attribute) for attribute in node.attribute):
        return
    try:
        checker.check_node(node, context)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{_named(node)} is not valid ONNX: {reason}") from error


def _check_variadic(node: onnx.NodeProto, opset: int) -> None:
    """An input left out among any number of them brings ONNX Runtime down."""
    if node.domain not in STANDARD or all(node.input):
        return
    try:
        formal = onnx.defs.get_schema(node.op_type, opset, "").inputs
    except onnx.defs.SchemaError:
        return
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    open_ended = bool(formal) and formal[-1].option == variadic
    if open_ended and not all(node.input[len(formal) - 1 :]):
        raise ModelError(f"{_named(node)} leaves out an input in the middle of many")


def _named(node: onnx.NodeProto) -> str:
    label = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} {label!r}"
