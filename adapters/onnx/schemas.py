"""Which opsets have an operator as a node uses it: its attributes, inputs and types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx

EMITTED = 18


def spelled(element: int) -> str:
    return f"tensor({onnx.TensorProto.DataType.Name(element).lower()})"


def first_that_fits(node: onnx.NodeProto, newest: Any, types: Mapping[str, str]) -> int:
    """The lowest opset from 18 on that has the node with its attributes, inputs and types."""
    for opset in range(EMITTED, newest.since_version):
        try:
            schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError:
            continue
        if not schema.deprecated and fits(node, schema) and _typed(node, schema, types):
            return opset
    return int(newest.since_version)


def fits(node: onnx.NodeProto, schema: Any) -> bool:
    """Whether an operator has the attributes and as many inputs as the node."""
    known = all(attribute.name in schema.attributes for attribute in node.attribute)
    return known and schema.min_input <= len(node.input) <= schema.max_input


def _typed(node: onnx.NodeProto, schema: Any, types: Mapping[str, str]) -> bool:
    """Whether an operator takes and makes the types of the node; unknown ones count as fitting."""
    pairs = [*_formal(node.input, schema.inputs), *_formal(node.output, schema.outputs)]
    return all(types[name] in kind.types for name, kind in pairs if name in types)


def _formal(names: Sequence[str], formal: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The names, each with its parameter of the schema; the last one may stand for many."""
    for place, name in enumerate(names):
        yield name, formal[min(place, len(formal) - 1)]
