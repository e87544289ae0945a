"""One operator set for everything: models are brought to opset 18, newer ones where they can."""

from __future__ import annotations

import onnx
from onnx import inliner, version_converter

from pertcore.errors import ModelError

EMITTED = 18


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
    try:
        return version_converter.convert_version(model, EMITTED)
    except Exception as error:
        raise ModelError(
            f"the model of opset {version} cannot be converted to opset {EMITTED}: {error}; "
            "export it with a newer opset"
        ) from error


def _needed(model: onnx.ModelProto, version: int) -> int:
    """Lowest opset from 18 on at which every node of the model has its newest needed meaning."""
    needed = EMITTED
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            newest = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:
            raise ModelError(f"opset {version} has no operator {node.op_type!r}") from None
        if newest.since_version > EMITTED and not _same_at_18(node):
            needed = max(needed, newest.since_version)
    return needed


def _same_at_18(node: onnx.NodeProto) -> bool:
    """Whether the node, attributes and inputs as they are, exists at opset 18."""
    try:
        old = onnx.defs.get_schema(node.op_type, EMITTED, "")
    except onnx.defs.SchemaError:
        return False
    known = all(attribute.name in old.attributes for attribute in node.attribute)
    return known and old.min_input <= len(node.input) <= old.max_input
