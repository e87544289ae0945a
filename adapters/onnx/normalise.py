"""One operator set for everything: models are brought to opset 18, newer ones where they can."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper, inliner, version_converter

from pertcore.adapters.onnx.earlier import BATCHED_SCAN, one_by_one
from pertcore.adapters.onnx.schemas import EMITTED, first_that_fits, spelled
from pertcore.errors import ModelError

STANDARD = ("", "ai.onnx")
NUMPY_BROADCAST = 7
# Bytes of a weight that the converter is still shown.
LARGEST_READ = 1 << 12


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
    """The version of the standard operators; a model of other domains alone may name none."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    standard = any(node.domain in STANDARD for node in _every(model.graph))
    if not versions and (standard or not model.opset_import):
        raise ModelError("the model names no opset of the standard ONNX operators")
    return max(versions, default=EMITTED)


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    if version < NUMPY_BROADCAST:
        model = _restamped(_aligned(model))
    if version == BATCHED_SCAN:
        model = one_by_one(model)
    try:
        light, heavy = _lightened(model)
        converted = version_converter.convert_version(light, EMITTED)
    except Exception as error:
        raise ModelError(
            f"the model of opset {version} cannot be converted to opset {EMITTED}: {error}; "
            "export it with a newer opset"
        ) from error
    # The converter leaves types of inner values behind that no longer hold.
    del converted.graph.value_info[:]
    kept = [value for value in converted.graph.input if value.name not in heavy]
    del converted.graph.input[:]
    converted.graph.input.extend(kept)
    converted.graph.initializer.extend(heavy.values())
    return converted


def _lightened(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, onnx.TensorProto]]:
    """The model with its large weights as inputs, so that the converter need not copy them, and
    these weights by name; nothing that an operator's meaning hangs on is large."""
    inputs = {value.name for value in model.graph.input}
    weights = [t for t in model.graph.initializer if t.name not in inputs]
    heavy = {t.name: t for t in weights if len(t.raw_data) > LARGEST_READ}
    light = onnx.ModelProto()
    light.ir_version, light.domain = model.ir_version, model.domain
    light.opset_import.extend(model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    light.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    light.graph.initializer.extend(t for t in model.graph.initializer if t.name not in heavy)
    light.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in heavy.values()
    )
    return light, heavy


def _restamped(model: onnx.ModelProto) -> onnx.ModelProto:
    """An aligned model called one of opset 7 where its nodes are valid there, once the words for
    broadcasting and for inference are gone; ONNX's converter needs fixed shapes to see that."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 3, {"": NUMPY_BROADCAST}
    for node in made.graph.node:
        idle = [a for a in node.attribute if a.name in ("broadcast", "is_test") and a.i]
        for attribute in idle:
            node.attribute.remove(attribute)
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError:
            return model
        if node.op_type == "PRelu":
            return model
    for entry in made.opset_import:
        entry.version = NUMPY_BROADCAST if entry.domain in ("", "ai.onnx") else entry.version
    return made


def _aligned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Broadcasting at an `axis`, or of slopes by channel, as before opset 7, as an Unsqueeze.

    ONNX's converter appends one axis too many there.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception as error:
        raise ModelError(f"the shapes inside the model contradict each other: {error}") from error
    typed = [*inferred.input, *inferred.value_info, *inferred.output]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in typed}
    ranks.update({tensor.name: len(tensor.dims) for tensor in inferred.initializer})
    single = {tensor.name for tensor in inferred.initializer if list(tensor.dims) in ([], [1])}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes = list(made.graph.node)
    del made.graph.node[:]
    for node in nodes:
        axis = next((a for a in node.attribute if a.name == "axis"), None)
        broadcasts = any(a.name == "broadcast" and a.i for a in node.attribute)
        if node.op_type == "PRelu" and node.input[1] not in single:  # a slope for every channel
            axis, broadcasts = onnx.helper.make_attribute("axis", 1), True
            node.attribute.append(axis)
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
    """Lowest opset from 18 on at which every node means what it means in the model."""
    needed = EMITTED
    types: dict[str, str] | None = None
    for node in _every(model.graph):
        if node.domain not in STANDARD:
            continue
        try:
            newest = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:
            raise ModelError(f"opset {version} has no operator {node.op_type!r}") from None
        if newest.since_version > EMITTED:
            types = _types(model) if types is None else types
            needed = max(needed, first_that_fits(node, newest, types))
    return needed


def _every(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _every(attribute.g)


def _types(model: onnx.ModelProto) -> dict[str, str]:
    """The type of every value of the outer graph that can be told, as schemas spell it."""
    helper, graph = onnx.helper, model.graph
    given = {t.name: t.data_type for t in graph.initializer}
    given.update({v.name: v.type.tensor_type.elem_type for v in graph.input})
    # Without sizes and weights this is fast, and sizes that contradict each other do not matter.
    inputs = [helper.make_tensor_value_info(n, t, None) for n, t in given.items() if t]
    bare = helper.make_graph(list(graph.node), "types", inputs, [])
    whole = helper.make_model(bare, opset_imports=list(model.opset_import))
    try:
        inferred = onnx.shape_inference.infer_shapes(whole).graph.value_info
    except Exception as error:
        raise ModelError(f"the types inside the model contradict each other: {error}") from error
    elements = given | {v.name: v.type.tensor_type.elem_type for v in inferred}
    return {name: spelled(element) for name, element in elements.items() if element}
