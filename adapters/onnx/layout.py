"""Where a product enters ONNX Runtime's blocked layout of channels.

Its convolutions and pools compute in blocks of channels; additions, products and activations
follow where all they read is blocked, else every one of them costs a conversion. A (co)tangent
that a matrix product, an Expand or a ConvTranspose made is not: it is led in by an idle pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph
    from pertcore.adapters.onnx.nodes import Node
    from pertcore.adapters.onnx.op import Op, Tensor

# ONNX Runtime's blocked layout holds whole blocks of channels.
BLOCK = 16
# What a cotangent passes on its way to the convolution before, blocked as that one's result is.
NAMES = "Relu Clip Sigmoid Tanh HardSigmoid Add Mul MaxPool AveragePool"
PASSED = frozenset(NAMES.split())
FARTHEST = 6


def enters(op: Op, value: Tensor) -> bool:
    """Whether cotangents of `value` are better led into the blocked layout: whether it is a whole
    number of blocks and comes from a convolution whose transpose is one, too, of stride 1."""
    plain = value.rank == 4 and value.dtype == np.float32
    channels = value.shape[1] if plain else None
    if not isinstance(channels, int) or channels % BLOCK:
        return False
    makers = _convolutions(op.graph, value.name)
    return any(all(s == 1 for s in maker.attrs.get("strides") or [1]) for maker in makers)


def led_in(op: Op, t: Tensor) -> Tensor:
    """The tensor, (batch, channels, height, width), through a pool of windows of one pixel."""
    return op.reshaped_type(op.MaxPool(t, kernel_shape=[1, 1]), t.shape)


def _convolutions(graph: Graph, name: str) -> list[Node]:
    """The nearest convolutions before a value, where only what keeps the layout lies between."""
    front = [name]
    for _ in range(FARTHEST):
        makers = [graph.makers[value] for value in front if value in graph.makers]
        found = [maker for maker in makers if maker.op == "Conv"]
        if found:
            return found
        front = [value for maker in makers if maker.op in PASSED for value in maker.inputs]
    return []
