"""One operator set for everything: models are brought to opset 18, newer ones where they can."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import inliner, version_converter

from pertcore.errors import ModelError

EMITTED = 18
NUMPY_BROADCAST = 7


def normalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model with functions inlined, at opset 18, and the opset it ends at.

    A newer model keeps its own opset where an operator of it means something else at 18. Raises
    ModelError where ONNX's converter refuses the model.
    """
    if model.functions:
        try:
            model = inliner.inline_local_functions(model, convert_version=True)
        except Exception as error:
            raise ModelError(
                f"the functions inside the model cannot be inlined: {error}"
            ) from error
    version = main_opset(model)
    if version < EMITTED:
        return _converted(model, version), EMITTED
    return model, _needed(model, version)


def main_opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise ModelError("the model names no opset of the standard ONNX operators")
    return max(versions)


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    if version < NUMPY_BROADCAST:
        model = _aligned(model)
    try:
        converted = version_converter.convert_version(model, EMITTED)
    except Exception as error:
        raise ModelError(
            f"the model of opset {version} cannot be converted to opset {EMITTED}: {error}; "
            "export it with a newer opset"
        ) from error
    # The converter leaves types of inner values behind that no longer hold.
    del converted.graph.value_info[:]
    return converted


def _aligned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Broadcasting at an `axis`, as before opset 7, written as an Unsqueeze.

    ONNX's converter appends one axis too many there.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:
        raise ModelError(f"the shapes inside the model contradict each other: {error}") from error
    typed = [*inferred.input, *inferred.value_info, *inferred.output]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in typed}
    ranks.update({tensor.name: len(tensor.dims) for tensor in inferred.initializer})
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = list(made.graph.node)
    del made.graph.node[:]
    for node in nodes:
        axis = next((a for a in node.attribute if a.name == "axis"), None)
        broadcasts = any(a.name == "broadcast" and a.i for a in node.attribute)
        if broadcasts and axis is not None:
            first, second = (ranks.get(name) for name in node.input)
            if first is None or second is None:
                raise ModelError(f"{node.op_type} {node.name!r} broadcasts tensors of unknown rank")
            missing = first - axis.i % first - second
            node.attribute.remove(axis)
            if missing > 0:
                wider = f"{node.output[0]}.aligned"
                axes = list(range(second, second + missing))
                made.graph.node.append(
                    onnx.helper.make_node("Unsqueeze", [node.input[1]], [wider], axes=axes)
                )
                node.input[1] = wider
        made.graph.node.append(node)
    return onnx.shape_inference.infer_shapes(made)


def _needed(model: onnx.ModelProto, version: int) -> int:
    """Lowest opset from 18 on at which every node of the model has its newest needed meaning."""
    needed = EMITTED
    for node in _every(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            newest = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:
            raise ModelError(f"opset {version} has no operator {node.op_type!r}") from None
        if newest.since_version > EMITTED and not _same_at_18(node):
            needed = max(needed, newest.since_version)
    return needed


def _every(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _every(attribute.g)


def _same_at_18(node: onnx.NodeProto) -> bool:
    """Whether the node, attributes and inputs as they are, exists at opset 18."""
    try:
        old = onnx.defs.get_schema(node.op_type, EMITTED, "")
    except onnx.defs.SchemaError:
        return False
    if old.deprecated:
        return False
    known = all(attribute.name in old.attributes for attribute in node.attribute)
    return known and old.min_input <= len(node.input) <= old.max_input
