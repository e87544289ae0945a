"""A torch.nn.Sequential as a standard ONNX model, written node by node with onnx.helper."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

OPSET, IR = 18, 10
PLAIN = {
    "ReLU": "Relu", "Flatten": "Flatten", "Sigmoid": "Sigmoid",
    "AdaptiveAvgPool2d": "GlobalAveragePool",
}  # fmt: skip
POOLS = {"MaxPool2d": "MaxPool", "AvgPool2d": "AveragePool"}


class Grown(torch.nn.Sequential):
    """A dense block's layer: its input and, behind it along the channels, what it makes of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], dim=1)


class Chain:
    """Nodes and weights of a chain in which each node reads what the last one wrote."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = "image"

    def add(
        self, op: str, *constants: tuple[str, np.ndarray], before: str = "", **attributes: Any
    ) -> None:
        """A node of what the last one wrote, and behind `before` where that is named."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [f"{name}.{part}" for part, _ in constants]
        self.weights += [
            numpy_helper.from_array(np.ascontiguousarray(value), full)
            for full, (_, value) in zip(names, constants, strict=True)
        ]
        inputs = [*filter(None, [before]), self.last, *names]
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        self.last = name

    def add_layer(self, layer: torch.nn.Module) -> None:
        kind = type(layer).__name__
        parameters = [(k, v.detach().numpy()) for k, v in layer.named_parameters(recurse=False)]
        if isinstance(layer, torch.nn.Conv2d):
            pads = [int(side) for side in layer.padding] * 2
            self.add("Conv", *parameters, pads=pads, strides=list(layer.stride))
        elif isinstance(layer, torch.nn.BatchNorm2d):
            moments = [(k, getattr(layer, k).numpy()) for k in ("running_mean", "running_var")]
            self.add("BatchNormalization", *parameters, *moments, epsilon=layer.eps)
        elif kind in POOLS:
            size, step = ([int(side)] * 2 for side in (layer.kernel_size, layer.stride))
            self.add(POOLS[kind], kernel_shape=size, strides=step)
        elif isinstance(layer, torch.nn.Linear):
            self.add("Gemm", *parameters, transB=1)
        elif isinstance(layer, torch.nn.Unflatten):
            shape = np.array([-1, *layer.unflattened_size], dtype=np.int64)
            self.add("Reshape", ("shape", shape))
        elif isinstance(layer, Grown):
            before = self.last
            for inner in layer:
                self.add_layer(inner)
            self.add("Concat", before=before, axis=1)
        elif not isinstance(layer, torch.nn.Dropout):
            self.add(PLAIN[kind])


def export(
    model: torch.nn.Sequential, image: tuple[int | str, ...], output: str,
    shape: tuple[int | str, ...], doc: str,
) -> onnx.ModelProto:  # fmt: skip
    """The chain (n, *image) -> (n, *shape), as it is in evaluation, as a checked model with a free
    batch axis named n."""
    chain = Chain()
    for layer in model:
        chain.add_layer(layer)
    chain.nodes[-1].output[0] = output
    made = helper.make_graph(
        chain.nodes, output,
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", *image])],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["n", *shape])],
        chain.weights, doc_string=doc,
    )  # fmt: skip
    opset = helper.make_opsetid("", OPSET)
    proto = helper.make_model(made, opset_imports=[opset], ir_version=IR, producer_name="pertcore")
    onnx.checker.check_model(proto, full_check=True)
    return proto
