"""A value of a graph that computes like a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pertcore.adapters.onnx.symbolic import Shape
from pertcore.errors import CapabilityError
from pertcore.oracle import Array

if TYPE_CHECKING:
    from pertcore.adapters.onnx.op import Op


class Tensor:
    """A value of the graph; arithmetic on it emits nodes."""

    __slots__ = ("name", "op")

    def __init__(self, op: Op, name: str) -> None:
        self.op, self.name = op, name

    @property
    def shape(self) -> Shape:
        shape = self.op.graph.types[self.name].shape
        if shape is None:
            raise CapabilityError(f"the rank of {self.name!r} is unknown: export with static ranks")
        return shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.op.graph.types[self.name].dtype

    @property
    def value(self) -> Array | None:
        """The constant this is, None where it is computed."""
        return self.op.graph.value(self.name)

    def ints(self) -> list[Any] | None:
        """Its integers (or symbols) where they are known when the graph is built."""
        known = self.op.graph.known_value(self.name)
        return None if known is None else list(known.flat)

    def __add__(self, other: Any) -> Tensor:
        return self.op.Add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self.op.Add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self.op.Sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self.op.Sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self.op.Mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self.op.Mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self.op.Div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self.op.Div(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self.op.MatMul(self, other)

    def __neg__(self) -> Tensor:
        return self.op.Neg(self)
