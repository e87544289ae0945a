"""What a rule works with: tensors that compute like formulas, and the builder `op` that knows
whether (co)tangents carry a leading axis.

Capitalised methods emit the ONNX operator of that name (`op.Exp(x)`, `op.Conv(g, w, strides=s)`);
lower-case ones act on (co)tangents, whose leading axis of many, if there is one, they respect.
Axes handed to those are negative, so that they mean the same with and without the leading axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.adapters.onnx import masks
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.symbolic import Floor, Poly
from pertcore.adapters.onnx.tensor import Shape, Tensor
from pertcore.errors import CapabilityError

__all__ = ["Op", "Shape", "Tensor", "View"]
INT64 = 7


@dataclass
class Op:
    """The builder; `lead` is the symbol of the leading (co)tangent axis, None without one."""

    graph: Graph
    lead: Poly | None = None

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if not kind[0].isupper():
            raise AttributeError(kind)

        def emit(*arguments: Any, outputs: int = 1, **attrs: Any) -> Any:
            made = self.graph.emit(kind, self._names(arguments), attrs, outputs=outputs)
            return self.tensor(made[0]) if outputs == 1 else tuple(map(self.tensor, made))

        return emit

    @property
    def model(self) -> Op:
        """The builder of the model itself: what it emits runs once, before any product."""
        return Op(self.graph if self.graph.inner else self.graph.parent or self.graph)

    def tensor(self, name: str) -> Tensor:
        return Tensor(self, name)

    def const(self, value: Any, dtype: Any = None) -> Tensor:
        return self.tensor(self.graph.constant(np.asarray(value, dtype=dtype)))

    def _names(self, arguments: Sequence[Any]) -> list[str]:
        kinds = [a.dtype for a in arguments if isinstance(a, Tensor)]
        names = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                names.append(argument.name)
            elif argument is None:
                names.append("")
            elif isinstance(argument, int | float):
                names.append(self.const(argument, kinds[0]).name)
            else:
                array = np.asarray(argument)
                whole = (
                    array.astype(np.int64) if array.dtype.kind != "f" or not array.size else array
                )
                names.append(self.const(whole).name)
        return names

    # Sizes

    def size(self, dim: int | Poly) -> Tensor:
        """The dimension as an int64 tensor of shape (1,), read at run time where it is a symbol."""
        if isinstance(dim, int):
            return self.const([dim], np.int64)
        source = self.graph.source(str(dim))
        if source is not None:
            name, axis = source
            return self.Shape(self.tensor(name), start=axis, end=axis + 1)
        total: Any = None
        for monomial, coefficient in dim.terms:
            term = self.const([coefficient], np.int64)
            for atom in monomial:
                term = term * self._atom(atom)
            total = term if total is None else total + term
        return total

    def _atom(self, atom: str | Floor) -> Tensor:
        if isinstance(atom, Floor):
            return self.Div(self.size(atom.num), self.size(atom.den))
        if self.graph.source(atom) is None:
            raise CapabilityError(f"the size {atom!r} of the model is not known at run time")
        return self.size(Poly((((atom,), 1),)))

    def sizes(self, dims: Sequence[int | Poly]) -> Tensor:
        """A shape as an int64 vector: a constant where every size is known."""
        if all(isinstance(dim, int) for dim in dims):
            return self.const(list(dims), np.int64)
        return self.Concat(*map(self.size, dims), axis=0) if len(dims) > 1 else self.size(dims[0])

    def target(self, x: Tensor, dims: Sequence[int | Poly]) -> Tensor:
        """The argument of Reshape for `dims`: 0 and -1 stand in for symbols where they can."""
        target: list[Any] = [
            0 if isinstance(d, Poly) and i < x.rank and d == x.shape[i] else d
            for i, d in enumerate(dims)
        ]
        open_places = [i for i, d in enumerate(target) if isinstance(d, Poly)]
        if open_places:
            # The leading axis is read off a (co)tangent, so the place of -1 is for another.
            largest = max(open_places, key=lambda i: (target[i] != self.lead, len(str(target[i]))))
            target[largest] = -1
        return self.sizes(target)

    def resized(self, x: Tensor, dims: Sequence[int | Poly]) -> Tensor:
        """`x` in the shape `dims`, leading axis included."""
        if 0 in dims:
            return self.reshaped_type(self.Reshape(x, self.sizes(dims), allowzero=1), dims)
        return self.reshaped_type(self.Reshape(x, self.target(x, dims)), dims)

    def reshaped_type(self, x: Tensor, dims: Sequence[int | Poly]) -> Tensor:
        """`x`, known to have the shape `dims` where inference would name it otherwise."""
        kind = self.graph.types[x.name]
        if kind.shape != tuple(dims):
            self.graph.types[x.name] = type(kind)(kind.dtype, tuple(dims))
        return x

    # Tangents and cotangents

    def full(self, shape: Sequence[int | Poly]) -> list[int | Poly]:
        return [*([self.lead] if self.lead is not None else []), *shape]

    def reshape(self, t: Tensor, shape: Sequence[int | Poly]) -> Tensor:
        """`t` with the shape of one (co)tangent changed to `shape`."""
        return self.resized(t, self.full(shape))

    def transpose(self, t: Tensor, perm: Sequence[int]) -> Tensor:
        if self.lead is not None:
            perm = [0, *[p + 1 for p in perm]]
        return self.Transpose(t, perm=list(perm))

    def expand(self, t: Tensor, shape: Sequence[int | Poly]) -> Tensor:
        """`t` broadcast to `shape` (of the same rank)."""
        wanted = self.full(shape)
        if list(t.shape) == wanted:
            return t
        have = (1,) * (len(wanted) - t.rank) + t.shape
        grown = [1 if old == new else new for old, new in zip(have, wanted, strict=True)]
        return self.reshaped_type(self.Expand(t, self.sizes(grown)), wanted)

    def align(self, t: Tensor, shape: Sequence[int | Poly], rank: int) -> Tensor:
        """`t` of shape `shape` with ones put before it, to broadcast at `rank` under the lead."""
        if self.lead is None or len(shape) == rank:
            return t
        return self.reshape(t, [1] * (rank - len(shape)) + list(shape))

    def sum_to(self, t: Tensor, shape: Sequence[int | Poly]) -> Tensor:
        """The transpose of broadcasting: sums the axes that `shape` lacks or has as 1."""
        offset = 0 if self.lead is None else 1
        rank = t.rank - offset
        extra = rank - len(shape)
        if extra:
            t = self.ReduceSum(t, [-r for r in range(len(shape) + 1, rank + 1)], keepdims=0)
        ones = [i - len(shape) for i, d in enumerate(shape) if d == 1 and t.shape[i + offset] != 1]
        return self.ReduceSum(t, ones, keepdims=1) if ones else t

    def reduce_sum(self, t: Tensor, axes: Sequence[int], *, keep: int = 1) -> Tensor:
        return self.ReduceSum(t, list(axes), keepdims=keep) if axes else t

    def pad(self, t: Tensor, begins: Sequence[Any], ends: Sequence[Any]) -> Tensor:
        """Zeros around `t` (negative: cut off), one entry an axis of one (co)tangent."""
        lead = [0] if self.lead is not None else []
        return self.Pad(t, self.sizes([*lead, *begins, *lead, *ends]), mode="constant")

    def zeros(self, shape: Sequence[int | Poly], dtype: Any) -> Tensor:
        """A (co)tangent of zeros."""
        made = self.ConstantOfShape(self.sizes(self.full(shape)), value=np.zeros(1, dtype))
        return self.reshaped_type(made, self.full(shape))

    def positions(self, size: int | Poly) -> Tensor:
        """0, 1, ..., size - 1 as int64."""
        if isinstance(size, int):
            return self.const(np.arange(size))
        zero, one = self.const(0, np.int64), self.const(1, np.int64)
        return self.reshaped_type(self.Range(zero, self.Squeeze(self.size(size), [0]), one), [size])

    def scatter(self, g: Tensor, axis: int, index: Tensor, size: int | Poly) -> Tensor:
        """The transpose of taking `index` (a vector) along a negative axis of that size."""
        rank = g.rank
        perm = [rank + axis, *[i for i in range(rank) if i != rank + axis]]
        first = self.Transpose(g, perm=perm)
        shape = [size, *first.shape[1:]]
        nothing = self.ConstantOfShape(self.sizes(shape), value=np.zeros(1, g.dtype))
        nothing = self.reshaped_type(nothing, shape)
        places = self.Unsqueeze(self.Cast(index, to=INT64), [1])
        summed = self.ScatterND(nothing, places, first, reduction="add")
        return self.Transpose(summed, perm=np.argsort(perm).tolist())

    def along(self, t: Tensor, matrix: Tensor, axis: int) -> Tensor:
        """`t` with a matrix (from, to) applied along a negative axis."""
        if axis == -1:
            return t @ matrix
        if axis == -2:
            return self.Transpose(matrix, perm=[1, 0]) @ t
        perm = list(range(t.rank))
        perm[axis], perm[-1] = perm[-1], perm[axis]
        return self.Transpose(self.Transpose(t, perm=perm) @ matrix, perm=perm)

    def lead_index(self, index: Tensor) -> Tensor:
        """An index tensor repeated over the leading axis."""
        if self.lead is None:
            return index
        whole = [self.lead, *index.shape]
        return self.reshaped_type(self.Expand(index, self.sizes(whole)), whole)

    def lead_last(self, t: Tensor) -> Tensor:
        """The leading axis moved behind all others, where index operators leave it alone."""
        return t if self.lead is None else self.Transpose(t, perm=[*range(1, t.rank), 0])

    def lead_first(self, t: Tensor) -> Tensor:
        return t if self.lead is None else self.Transpose(t, perm=[t.rank - 1, *range(t.rank - 1)])

    def fold(self, t: Tensor) -> Tensor:
        """The leading axis merged into the batch."""
        if self.lead is None:
            return t
        return self.resized(t, [t.shape[0] * t.shape[1], *t.shape[2:]])

    def unfold(self, t: Tensor) -> Tensor:
        if self.lead is None:
            return t
        return self.resized(t, [self.lead, t.shape[0] // self.lead, *t.shape[1:]])

    def batched(self, function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
        """A function that acts on every sample of a batch, on all (co)tangents at once."""
        return self.unfold(function(self.fold(t)))

    def scan(
        self,
        step: Callable[..., Sequence[Tensor]],
        states: Sequence[Tensor],
        slices: Sequence[Tensor],
        backwards: int,
    ) -> list[Tensor]:
        """step(op, *states, *slices) -> states and one output, along the first axis of `slices`:
        the last states, and the outputs stacked as the slices lie."""
        from pertcore.adapters.onnx.control import Slices, emit_scan

        read = [Slices(t, 0, backwards) for t in slices]
        return emit_scan(self, step, states, read, [(0, backwards)])

    def above(self, x: Tensor, bound: float) -> Tensor:
        """1 where x > bound, else 0, in the form that keeps ONNX Runtime's blocked layout."""
        return masks.above(self, x, bound)

    def below(self, x: Tensor, bound: float) -> Tensor:
        """1 where x < bound, else 0."""
        return masks.below(self, x, bound)

    def indicator(self, condition: Tensor, like: Tensor) -> Tensor:
        """A Boolean as 0 and 1 of the type of `like`."""
        return masks.indicator(self, condition, like)


class View:
    """A node as a rule sees it: inputs `i` (`x` or `a, b`), outputs `o` (`y`), attributes."""

    def __init__(
        self, op: Op, node: Node, active: set[str], passed: Mapping[str, Node] | None = None
    ) -> None:
        self.op, self.node, self._active, self._passed = op, node, active, passed or {}
        self.i = tuple(op.tensor(name) if name else None for name in node.inputs)
        self.o = tuple(op.tensor(name) for name in node.outputs)

    @property
    def kind(self) -> str:
        return self.node.op

    @property
    def x(self) -> Tensor:
        return self.i[0]  # type: ignore[return-value]

    a = x

    @property
    def b(self) -> Tensor:
        return self.i[1]  # type: ignore[return-value]

    @property
    def y(self) -> Tensor:
        return self.o[0]

    def input(self, index: int) -> Tensor | None:
        return self.i[index] if index < len(self.i) else None

    def attr(self, name: str, default: Any = None) -> Any:
        return self.node.attrs.get(name, default)

    def wants(self, index: int) -> bool:
        """Whether a derivative with respect to this input is needed."""
        return index < len(self.node.reads) and self.node.reads[index] in self._active

    def of_model(self) -> View:
        """The node with its tensors on the builder of the model, `op.model`."""
        return View(self.op.model, self.node, self._active, self._passed)

    def second_output(self) -> Tensor:
        """An optional second output of the node, asked of the model itself."""
        return self.op.tensor(self.op.graph.request(self.node, 1))

    def reduced(self) -> tuple[list[int], list[int | Poly]]:
        """Reduced axes as negative numbers, and the shape of the output with them kept as 1."""
        given = self.input(1)
        axes = given.ints() if given is not None else []
        if axes is None:
            raise CapabilityError(f"{self.kind} {self.node.label!r}: its axes must be constants")
        if not axes and not self.attr("noop_with_empty_axes", 0):
            axes = list(range(self.x.rank))
        negative = sorted(a - self.x.rank if a >= 0 else a for a in axes)
        kept = [1 if i - self.x.rank in negative else d for i, d in enumerate(self.x.shape)]
        return negative, kept

    def made_by(self, kind: str) -> View | None:
        """The node that the first input comes from, where it is of that kind."""
        maker = self.op.graph.makers.get(self.x.name)
        if maker is None or maker.op != kind:
            return None
        return View(self.op, maker, self._active, self._passed)

    def passes_to(self, kind: str) -> bool:
        """Whether the derivative of the first output comes from one node alone, of that kind."""
        reader = self._passed.get(self.y.name)
        return reader is not None and reader.op == kind

    def axis(self, name: str = "axis", default: int = 0) -> int:
        """An axis attribute as a negative number."""
        axis = self.attr(name, default)
        return axis - self.x.rank if axis >= 0 else axis
