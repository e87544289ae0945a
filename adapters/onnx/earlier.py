"""What ONNX's converter cannot bring up to newer opsets: the Scan of opset 8, over batches."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from pertcore.adapters.onnx.schemas import fits
from pertcore.errors import ModelError

BATCHED_SCAN = 8


def one_by_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model of opset 8 at opset 9, where a Scan knows no batch: it runs inside another Scan,
    over the samples. Raises ModelError for other operators that opset 9 has in another form."""
    if not any(node.op_type == "Scan" for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        if node.op_type == "Scan":
            _nest(node)
        elif not fits(node, onnx.defs.get_schema(node.op_type, BATCHED_SCAN + 1, "")):
            raise ModelError(
                f"a model of opset 8 with a Scan beside {node.op_type} {node.name!r} cannot be "
                "converted: export it with a newer opset"
            )
    for entry in made.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = BATCHED_SCAN + 1
    return made


def _nest(node: onnx.NodeProto) -> None:
    if node.input[0]:
        raise ModelError(
            f"Scan {node.name!r} of opset 8 reads sequences of different lengths: export it with a "
            "newer opset"
        )
    attrs: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given = list(node.input)[1:]
    inputs = [f"{node.output[0]}.row.{i}" for i in range(len(given))]
    outputs = [f"{node.output[0]}.made.{i}" for i in range(len(node.output))]
    inner = helper.make_node(
        "Scan", inputs, outputs, body=attrs["body"], num_scan_inputs=attrs["num_scan_inputs"]
    )
    if attrs.get("directions"):
        inner.attribute.append(helper.make_attribute("scan_input_directions", attrs["directions"]))
    body = helper.make_graph(
        [inner], "sample", [_free(name) for name in inputs], [_free(name) for name in outputs]
    )
    whole = helper.make_node(
        "Scan", given, list(node.output), body=body, num_scan_inputs=len(given)
    )
    node.CopyFrom(whole)


def _free(name: str) -> onnx.ValueInfoProto:
    """A value of which only the type is known; every number of a Scan's body is a float here."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
