"""RoiAlign (He et al. 2017): means, or maxima, of points read between the entries of regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal
from pertcore.adapters.onnx.rules.sampling import INT64, Tap, crossed
from pertcore.adapters.onnx.symbolic import product
from pertcore.errors import CapabilityError

# Along an axis of a region: constants of that size are made.
MOST_POINTS = 1 << 16


@lower("RoiAlign")
def roi_align(op: Op, n: View) -> Tensor:
    """Every bin of a region is sampled on a grid, each point linear between four entries."""
    rois, which = n.i[1], n.i[2]
    if rois is None or which is None:
        raise refusal(n, 1)
    bins = [n.attr("output_height", 1), n.attr("output_width", 1)]
    channels, *sizes = n.x.shape[1:]
    count = rois.shape[0]
    samples = [_samples(n, rois, axis, bins[axis]) for axis in (0, 1)]
    taps = [_taps(op, n, rois, axis, bins[axis], samples[axis]) for axis in (0, 1)]
    grid = [int(s.max(initial=0)) for s in samples]
    shape = [count, bins[0] * grid[0], bins[1] * grid[1]]
    # The entries of all images in one row a channel: no region needs an image of its own.
    flat = [channels, n.x.shape[0] * product(sizes)]
    data = op.resized(op.Transpose(n.x, perm=[1, 0, 2, 3]), flat)
    image = op.resized(op.Cast(which, to=INT64), [count, 1, 1]) * op.size(product(sizes))
    values = []
    for index, weight in crossed(op, sizes, taps):
        whole = op.resized(op.expand(index + image, shape), [product(shape)])
        values.append(op.resized(op.Gather(data, whole, axis=1), [channels, *shape]) * weight)
    split = [channels, count, bins[0], grid[0], bins[1], grid[1]]
    if n.attr("mode", "avg") == "max":
        # As ONNX Runtime has it: the largest weighted entry, not the largest interpolated point.
        made = op.ReduceMax(op.resized(op.Max(*values), split), [3, 5], keepdims=0)
    else:
        made = op.ReduceSum(op.resized(op.Sum(*values), split), [3, 5], keepdims=0)
    return op.Transpose(made, perm=[1, 0, 2, 3])


def _samples(n: View, rois: Tensor, axis: int, bins: int) -> np.ndarray[Any, Any]:
    """Points a bin along an axis, for each region or for all; as many as entries by default."""
    fixed = n.attr("sampling_ratio", 0)
    if max(fixed, 1) * bins > MOST_POINTS:
        raise CapabilityError(f"RoiAlign {n.node.label!r}: {fixed} samples in each of {bins} bins")
    if fixed > 0:
        return np.array([fixed])
    if rois.value is None:
        raise CapabilityError(
            f"RoiAlign {n.node.label!r}: with sampling_ratio=0 the number of points depends on the "
            "regions, which must be constants: export it with a sampling_ratio"
        )
    low, high = (rois.value[:, i].astype(np.float64) for i in (1 - axis, 3 - axis))
    length = (high - low) * n.attr("spatial_scale", 1.0)
    if not _shifted(n):
        length = np.maximum(length, 1.0)
    if not np.all(length < MOST_POINTS):
        raise CapabilityError(f"RoiAlign {n.node.label!r}: a region of {length.max()} entries")
    found = np.maximum(np.ceil(length / bins), 0).astype(np.int64)
    if n.attr("mode", "avg") == "max" and found.size and np.ptp(found):
        raise CapabilityError(
            f"RoiAlign {n.node.label!r}: maxima over regions of different sizes need a "
            "sampling_ratio"
        )
    return found


def _shifted(n: View) -> bool:
    return bool(n.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel")


def _taps(
    op: Op, n: View, rois: Tensor, axis: int, bins: int, samples: np.ndarray[Any, Any]
) -> list[Tap]:
    """The entries before and after each sampled point of one axis, with their weights."""
    scale, most = n.attr("spatial_scale", 1.0), int(samples.max(initial=0))
    low, high = (op.Slice(rois, [i], [i + 1], [1]) * scale for i in (1 - axis, 3 - axis))
    length = high - low
    if _shifted(n):
        low = low - 0.5
    else:
        length = op.Max(length, 1.0)
    # Point i of bin b lies at (b + (i + 1/2) / samples) / bins of the region.
    points = (
        np.arange(bins)[:, None] + (np.arange(most) + 0.5) / np.maximum(samples, 1)[:, None, None]
    )
    share = op.const(points.reshape(len(samples), -1) / bins, n.x.dtype)
    counted = np.arange(most) < samples[:, None]
    weight = np.tile(counted / np.maximum(samples, 1)[:, None], (1, bins))
    if n.attr("mode", "avg") == "max":
        weight = np.ones_like(weight)
    size = op.indicator(op.size(n.x.shape[2 + axis]), n.x)
    at = low + length * share
    inside = op.And(op.GreaterOrEqual(at, -1.0), op.LessOrEqual(at, size))
    held = op.Min(op.Max(at, 0.0), size - 1.0)
    first = op.Floor(held)
    t, outer = held - first, op.indicator(inside, at) * op.const(weight, n.x.dtype)
    shape = [rois.shape[0], 1, 1]
    shape[1 + axis] = bins * most
    pairs = [(first, (1.0 - t) * outer), (op.Min(first + 1.0, size - 1.0), t * outer)]
    return [(op.Cast(op.resized(i, shape), to=INT64), op.resized(w, shape)) for i, w in pairs]
