"""GridSample as weighted looked-up entries, differentiable in the data and the coordinates; the
taps of an axis are shared with other operators that read between the entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product as every
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.symbolic import product

INT64 = 7
# An index along one axis and the weight of the entry there.
Tap = tuple[Tensor, Tensor]
# Keys' cubic (1981) with the parameter that ONNX fixes.
SHARPNESS = -0.75


@lower("GridSample")
def grid_sample(op: Op, n: View) -> Tensor:
    """sum over taps of weight(coordinate - tap) x[tap], the product of one-axis weights."""
    sizes, rank = n.x.shape[2:], n.x.rank - 2
    inner = n.b.shape[1:-1]
    points = product(inner)
    flat = op.resized(n.b, [n.b.shape[0], 1, points, rank])
    taps = []
    for axis in range(rank):
        # The last coordinate of the grid belongs to the first axis.
        place = rank - 1 - axis
        column = op.Squeeze(op.Slice(flat, [place], [place + 1], [3]), [3])
        taps.append(_taps(op, n, column, op.indicator(op.size(sizes[axis]), n.x)))
    data = op.resized(n.x, [*n.x.shape[:2], product(sizes)])
    return op.resized(read(op, data, sizes, taps), [*n.x.shape[:2], *inner])


def read(op: Op, data: Tensor, sizes: Sequence[Any], taps: Sequence[Sequence[Tap]]) -> Tensor:
    """Entries of data (n, c, *sizes as one axis) at points, the taps of each axis (n, 1, points):
    (n, c, points)."""
    total: Any = None
    for index, weight in crossed(op, sizes, taps):
        whole = op.expand(index, [*data.shape[:2], index.shape[2]])
        term = op.GatherElements(data, whole, axis=2) * weight
        total = term if total is None else total + term
    return total


def crossed(op: Op, sizes: Sequence[Any], taps: Sequence[Sequence[Tap]]) -> Iterator[Tap]:
    """Every tap of all axes together: its index in the flattened sizes, the product of weights."""
    for picks in every(*taps):
        index, weight = picks[0]
        for (more, factor), size in zip(picks[1:], sizes[1:], strict=True):
            index, weight = index * op.size(size) + more, weight * factor
        yield index, weight


def linear(op: Op, x: Tensor, size: Tensor) -> list[Tap]:
    """The two entries around a coordinate in entries, zero outside."""
    low = op.Floor(x)
    t = x - low
    return [_tap(op, low, 1.0 - t, size), _tap(op, low + 1.0, t, size)]


def _taps(op: Op, n: View, g: Tensor, size: Tensor) -> list[Tap]:
    """Index and weight of every tap of one axis, for coordinates from -1 to 1."""
    mode = n.attr("mode", "linear").removeprefix("bi")
    aligned = n.attr("align_corners", 0)
    x = (g + 1.0) * 0.5 * (size - 1.0) if aligned else ((g + 1.0) * size - 1.0) * 0.5
    if mode == "nearest":
        x = op.Round(x)
    if mode != "cubic":
        x = _inside(op, n, x, size)
    if mode == "nearest":
        return [_tap(op, x, x * 0.0 + 1.0, size)]
    low = op.Floor(x)
    t = x - low
    if mode == "linear":
        ends = [(low, 1.0 - t), (low + 1.0, t)]
        return [_tap(op, _inside(op, n, place, size), weight, size) for place, weight in ends]
    weights = [_far(t + 1.0), _near(t), _near(1.0 - t), _far(2.0 - t)]
    return [
        _tap(op, _inside(op, n, low + float(k - 1), size), weight, size)
        for k, weight in enumerate(weights)
    ]


def _near(t: Tensor) -> Tensor:
    return ((SHARPNESS + 2.0) * t - (SHARPNESS + 3.0)) * t * t + 1.0


def _far(t: Tensor) -> Tensor:
    return ((SHARPNESS * t - 5.0 * SHARPNESS) * t + 8.0 * SHARPNESS) * t - 4.0 * SHARPNESS


def _inside(op: Op, n: View, x: Tensor, size: Tensor) -> Tensor:
    """The coordinate as the padding mode has it: held at the border, or reflected there."""
    mode = n.attr("padding_mode", "zeros")
    if mode == "border":
        return op.Min(op.Max(x, 0.0), size - 1.0)
    if mode == "reflection":
        aligned = n.attr("align_corners", 0)
        low, width = (0.0, size - 1.0) if aligned else (-0.5, size)
        width = op.Max(width, 1e-6)
        turn = (x - low) - op.Floor((x - low) / (width * 2.0)) * (width * 2.0)
        return width - op.Abs(turn - width) + low
    return x


def _tap(op: Op, index: Tensor, weight: Tensor, size: Tensor) -> Tap:
    """The index as an integer inside, the weight 0 where it was outside."""
    held = op.Min(op.Max(index, 0.0), size - 1.0)
    weight = weight * op.indicator(op.Equal(index, held), weight)
    return op.Cast(op.Round(held), to=INT64), weight
