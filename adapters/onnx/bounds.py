"""Limits on what a small file may ask for: sizes of tensors, of constants and of inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from pertcore.adapters.onnx.nodes import every_node
from pertcore.adapters.onnx.symbolic import Poly, Shape, evaluate, symbols
from pertcore.errors import CapabilityError, ModelError, PertcoreError

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph
    from pertcore.adapters.onnx.nodes import Node, Type

# Entries of one tensor for a batch of one; of all tensors that no input has a part in; of a sample.
LARGEST_TENSOR, ALL_FIXED, LARGEST_SAMPLE = 1 << 28, 1 << 28, 1 << 25
MOST_TURNS = 1 << 20
# Entries of all tensors for a batch of one, and products summed into them: as many as any model
# may make, and how many more for each entry of its inputs and weights, or for each pair of both.
ENTRIES, ENTRIES_EACH = 1 << 25, 1 << 10
PRODUCTS, PRODUCTS_EACH, PRODUCTS_PAIR = 1 << 30, 1 << 14, 4
CONTRACTIONS = frozenset(("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum"))

# What Python, NumPy and ONNX raise when a node does not fit together.
TROUBLE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)


def check(node: Node, kinds: Sequence[Type]) -> None:
    """Raises ModelError for a negative dimension and for a tensor beyond all bounds."""
    for kind in kinds:
        wrong = _beyond(kind.shape or ())
        if wrong:
            raise ModelError(f"{node.op} {node.label!r} makes a tensor of shape {wrong}")


@lru_cache(maxsize=4096)
def _beyond(shape: Shape) -> str:
    """The shape and what is wrong with it, nothing where it may be."""
    size = least(shape)
    negative = any(isinstance(dim, int) and dim < 0 for dim in shape)
    if not negative and size <= LARGEST_TENSOR:
        return ""
    what = "a negative dimension" if negative else f"{size:.3g} numbers a sample"
    return f"({', '.join(map(str, shape))[:200]}), {what}: at most 2^28 are taken"


def check_work(graph: Graph, weights: int) -> None:
    """Raises ModelError where a model of so many weights makes more numbers of a batch of one, or
    sums more products, than its size explains: a sane one would take minutes, or all memory."""
    inputs = sum(least(graph.types[name].shape or ()) for name in graph.inputs)
    most = (
        ENTRIES + ENTRIES_EACH * (inputs + weights),
        PRODUCTS + PRODUCTS_EACH * (inputs + weights) + PRODUCTS_PAIR * inputs * weights,
    )
    nodes = list(every_node(graph.nodes))
    counts = [_work(graph, node) for node in nodes]
    for place, what in enumerate(("numbers", "products")):
        each = [count[place] for count in counts]
        if sum(each) > most[place]:
            worst = nodes[each.index(max(each))]
            raise ModelError(
                f"the model makes {sum(each):.3g} {what} a sample, most of them by "
                f"{worst.op} {worst.label!r}: at most {most[place]:.3g} are taken for {inputs} "
                f"inputs and {weights} weights"
            )


def entries(graph: Graph) -> int:
    """Numbers in all tensors that the nodes of a graph make of a batch of one, at least one."""
    return max(sum(_work(graph, node)[0] for node in every_node(graph.nodes)), 1)


def _work(graph: Graph, node: Node) -> tuple[int, int]:
    """Entries that a node makes and products that it sums: for (m, k) @ (k, n), m n and m k n, the
    root of the product of the three sizes."""
    made = sum(_entries(graph, name) for name in node.outputs)
    if node.op in CONTRACTIONS and len(node.inputs) > 1:
        left, right = (_entries(graph, name) for name in node.inputs[:2])
        return made, math.isqrt(left * right * made)
    return made, made * math.prod(node.attrs.get("kernel_shape") or ())


def _entries(graph: Graph, name: str) -> int:
    return least(graph.types[name].shape or ()) if name else 0


@lru_cache(maxsize=4096)
def least(shape: Shape) -> int:
    """Entries of a tensor where every symbol is one."""
    total = 1
    for dim in shape:
        total *= dim if isinstance(dim, int) else _of_ones(dim)
    return total


def _of_ones(dim: Poly) -> int:
    try:
        return max(evaluate(dim, dict.fromkeys(symbols(dim), 1)), 1)
    except ZeroDivisionError:
        return 1


def count_fixed(graph: Graph, node: Node) -> None:
    """`spend` for a node that ONNX Runtime will compute as soon as it loads the model."""
    if not all(name in graph.constants or name in graph.fixed for name in node.reads if name):
        return
    for name in node.outputs:
        graph.fixed.add(name)
    spend(graph, node, [graph.types[name] for name in node.outputs])


def spend(graph: Graph, node: Node, kinds: Sequence[Type]) -> None:
    """Counts by how much constant outputs are larger than the inputs they are made of.

    Raises ModelError where the sum passes the bound.
    """
    taken = sum(least(graph.types[name].shape or ()) for name in node.inputs if name)
    graph.spent[0] += max(sum(least(kind.shape or ()) for kind in kinds) - taken, 0)
    if graph.spent[0] > ALL_FIXED:
        raise ModelError(
            f"{node.op} {node.label!r}: the model makes {graph.spent[0]:.3g} numbers before it "
            "has seen an input; at most 2^28 are taken"
        )


def check_turns(graph: Graph, node: Node) -> None:
    """Raises ModelError for a Loop that no condition ends, after a million turns or never."""
    body = node.attrs["body"]
    going = body.outputs[0]
    always = graph.constants.get(going)
    endless = going == body.graph.inputs[1] or (always is not None and bool(always.all()))
    start = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if not endless or (start is not None and not start.all()):
        return
    turns = graph.constants.get(node.inputs[0])
    if not node.inputs[0] or (turns is not None and turns.size and turns.max() > MOST_TURNS):
        number = "without an end" if turns is None else f"{turns.max()} times"
        raise ModelError(f"Loop {node.label!r} turns {number}: at most 2^20 turns are taken")


def check_sample(name: str, dims: Sequence[int | Poly]) -> None:
    """Raises CapabilityError for an input of more entries a sample, or in all of its fixed batch,
    than are taken."""
    if least(tuple(dims)) > LARGEST_SAMPLE:
        fixed = isinstance(dims[0], int) and dims[0] > 1
        what = f"in its fixed batch of {dims[0]}" if fixed else "a sample"
        raise CapabilityError(
            f"input {name!r} has {least(tuple(dims)):.3g} numbers {what}: at most 2^25 are taken"
        )


@contextmanager
def blamed(op: str, label: str) -> Iterator[None]:
    """What a rule makes of a node that contradicts itself becomes a ModelError that names it."""
    try:
        yield
    except PertcoreError:
        raise
    except TROUBLE as error:
        kind = type(error).__name__
        raise ModelError(f"{op} {label!r} cannot be made sense of: {kind}: {error}") from error


@contextmanager
def within_memory() -> Iterator[None]:
    """A model that takes more memory than there is becomes a ModelError."""
    try:
        yield
    except MemoryError as error:
        raise ModelError(f"the model takes more memory than there is: {error}") from error
