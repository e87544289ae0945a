"""Sequences and optionals, which are settled when the model is emitted: nothing of them is left.

A sequence is the list of its tensors, which `Graph.sequences` keeps by name; where its length or
an index into it is only known at run time, the model is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.errors import CapabilityError, ModelError

# Tensors that a sequence may have: each is a value of the graph.
LONGEST = 4096


def _refused(n: View, what: str) -> CapabilityError:
    return CapabilityError(
        f"{n.kind} {n.node.label!r}: {what} is only known at run time; a model with sequences has a "
        "derivative where their lengths and indices are constants"
    )


def _items(n: View, place: int = 0) -> list[Tensor]:
    """The tensors of a sequence that is an input."""
    given = n.input(place)
    found = None if given is None else n.op.graph.sequences.get(given.name)
    if found is None:
        raise _refused(n, f"the sequence {'' if given is None else given.name!r}")
    return [n.op.tensor(name) for name in found]


def _sequence(op: Op, items: Sequence[Tensor] | None) -> Tensor:
    """A name for a list of tensors, or for an optional that is empty (None)."""
    if items is not None and len(items) > LONGEST:
        raise CapabilityError(f"a sequence of {len(items)} tensors: at most {LONGEST} are taken")
    names = None if items is None else [item.name for item in items]
    return op.tensor(op.graph.sequence(names))


def _number(n: View, place: int) -> int | None:
    """An integer input that must be known; None where it is absent."""
    given = n.input(place)
    if given is None:
        return None
    found = given.ints()
    if found is None or len(found) != 1 or not isinstance(found[0], int):
        raise _refused(n, f"its input {place}")
    return found[0]


def _place(n: View, place: int, count: int, *, beyond: int = 0) -> int | None:
    """A position in a sequence of `count`, or up to `beyond` after it, counted from the end where
    it is negative."""
    found = _number(n, place)
    if found is not None and not -count <= found < count + beyond:
        raise ModelError(f"{n.kind} {n.node.label!r}: position {found} of {count}")
    return found if found is None or found >= 0 else found + count


@lower("SequenceConstruct")
def sequence_construct(op: Op, n: View) -> Tensor:
    return _sequence(op, [tensor for tensor in n.i if tensor is not None])


@lower("SequenceEmpty")
def sequence_empty(op: Op, n: View) -> Tensor:
    return _sequence(op, [])


@lower("SequenceInsert")
def sequence_insert(op: Op, n: View) -> Tensor:
    items = _items(n)
    place = _place(n, 2, len(items), beyond=1)
    items.insert(len(items) if place is None else place, n.b)
    return _sequence(op, items)


@lower("SequenceErase")
def sequence_erase(op: Op, n: View) -> Tensor:
    items = _items(n)
    place = _place(n, 1, len(items))
    items.pop(-1 if place is None else place)
    return _sequence(op, items)


@lower("SequenceAt")
def sequence_at(op: Op, n: View) -> Tensor:
    items = _items(n)
    return items[_place(n, 1, len(items)) or 0]


@lower("SequenceLength")
def sequence_length(op: Op, n: View) -> Tensor:
    return op.const(len(_items(n)), np.int64)


@lower("ConcatFromSequence")
def concat_from_sequence(op: Op, n: View) -> Tensor:
    items, axis = _items(n), n.attr("axis", 0)
    if n.attr("new_axis", 0):
        items = [op.Unsqueeze(item, [axis]) for item in items]
    whole: Tensor = op.Concat(*items, axis=axis)
    return whole


@lower("SplitToSequence")
def split_to_sequence(op: Op, n: View) -> Tensor:
    """Parts of the sizes given, of one size, or single slices, whose axis may be dropped."""
    axis = n.axis()
    size, given = n.x.shape[axis], n.input(1)
    if not isinstance(size, int):
        raise _refused(n, f"the size of axis {axis}")
    sizes = _sizes(n, size)
    parts = op.Split(n.x, sizes, axis=axis, outputs=len(sizes)) if len(sizes) > 1 else (n.x,)
    if given is None and not n.attr("keepdims", 1):
        parts = tuple(op.Squeeze(part, [axis]) for part in parts)
    return _sequence(op, parts)


def _sizes(n: View, size: int) -> list[int]:
    """Of the parts of an axis."""
    given = n.input(1)
    found: Any = [1] if given is None else given.ints()
    if found is None or not all(isinstance(s, int) for s in found):
        raise _refused(n, "its input 1")
    if given is None or given.rank == 0:
        each = max(found[0], 1)
        found = [min(each, size - start) for start in range(0, min(size, LONGEST * each + 1), each)]
    if min(found, default=0) < 0 or len(found) > LONGEST or sum(found) != size:
        raise ModelError(f"SplitToSequence {n.node.label!r}: {size} in {len(found)} parts")
    return list(found)


@lower("SequenceMap")
def sequence_map(op: Op, n: View) -> list[Tensor]:
    """The inner graph applied to every tensor; other sequences are walked beside the first."""
    count, graph = len(_items(n)), op.graph
    columns = []
    for place, tensor in enumerate(n.i):
        listed = tensor is not None and tensor.name in graph.sequences
        columns.append(_items(n, place) if listed else [tensor] * count)
    if any(len(column) != count for column in columns):
        raise ModelError(f"SequenceMap {n.node.label!r}: its sequences differ in length")
    rows = [n.attr("body")(graph, [t.name for t in row]) for row in zip(*columns, strict=True)]
    made = zip(*rows, strict=True) if rows else [()] * len(n.node.outputs)
    return [_sequence(op, [op.tensor(name) for name in column]) for column in made]


# Optionals


@lower("Optional")
def optional(op: Op, n: View) -> Tensor:
    given = n.input(0)
    return _sequence(op, None) if given is None else given


@lower("OptionalHasElement")
def optional_has_element(op: Op, n: View) -> Tensor:
    given = n.input(0)
    return op.const(np.array(given is not None and not _is_empty(n, given)))


@lower("OptionalGetElement")
def optional_get_element(op: Op, n: View) -> Tensor:
    if _is_empty(n, n.x):
        raise ModelError(f"OptionalGetElement {n.node.label!r}: the optional is empty")
    return n.x


def _is_empty(n: View, given: Tensor) -> bool:
    return n.op.graph.sequences.get(given.name, ()) is None
