"""The relaxation of max norm_1(J^T w) over unit w in a cone, in Numba: sums in the given dtype."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.compiled.elements import strict, summing
from pertcore.kernels.compiled.vectors import add, add_4, dot, dot_4, wide_dot, wide_square
from pertcore.oracle import Array

PULL = 0.3
PRICE = 3.0
PIECE = 512


@strict
def cone_ascent(
    planes: Array,
    normals: Array,
    rates: Array,
    start: Array,
    first: Array,
    steps: int,
    settled: float,
    image: Array,
    prices: Array,
) -> None:
    width, d = planes.shape
    rank, tiny = start.shape[1], np.float64(np.finfo(np.float32).tiny)
    turned, inner = np.empty((rank, width), planes.dtype), np.empty((normals.shape[0], rank))
    slope, g = np.empty((width, rank)), np.empty((rank, PIECE), planes.dtype)
    lengths = np.empty(PIECE, planes.dtype)
    turning = _turning(normals)
    image[:], prices[:] = start, first
    for _ in range(steps):
        turned[:] = image.T
        slope[:] = 0.0
        for begin in range(0, d, PIECE):
            _add_slopes(planes[:, begin : begin + PIECE], turned, g, lengths, slope)
        _images(normals, image, inner)
        size = _pulled(normals, prices, turning, inner, image, slope)
        change = 0.0
        for k in range(width):
            for c in range(rank):
                moved = slope[k, c] / max(size, tiny)
                change = max(change, abs(moved - np.float64(image[k, c])))
                image[k, c] = moved
        _images(normals, image, inner)
        if max(change, _priced(inner, rates, prices)) <= settled:
            break


@strict
def _add_slopes(planes: Array, turned: Array, g: Array, lengths: Array, slope: Array) -> None:
    """slope (K, q) += J_i v_i^T over some columns, v_i the unit vector along W^T J_i."""
    width, d = planes.shape
    rank, fours = turned.shape[0], turned.shape[0] // 4 * 4
    for c in range(rank):
        row = g[c, :d]
        row[:] = 0
        for k in range(0, width // 4 * 4, 4):
            factors = turned[c, k : k + 4]
            add_4(row, factors, planes[k], planes[k + 1], planes[k + 2], planes[k + 3])
        for k in range(width // 4 * 4, width):
            add(row, turned[c, k], planes[k])
    _to_unit(g[:, :d], lengths[:d])
    for k in range(width):
        plane = planes[k]
        for c in range(0, fours, 4):
            s, t, u, v = dot_4(g[c, :d], g[c + 1, :d], g[c + 2, :d], g[c + 3, :d], plane)
            slope[k, c] += s
            slope[k, c + 1] += t
            slope[k, c + 2] += u
            slope[k, c + 3] += v
        for c in range(fours, rank):
            slope[k, c] += dot(g[c, :d], plane)


@summing
def _to_unit(g: Array, lengths: Array) -> None:
    """The columns of g to length 1; lengths is room to work in."""
    tiny, one = g.dtype.type(np.finfo(np.float32).tiny), g.dtype.type(1)
    lengths[:] = 0
    for c in range(g.shape[0]):
        row = g[c]
        for i in range(lengths.shape[0]):
            lengths[i] += row[i] * row[i]
    for i in range(lengths.shape[0]):
        lengths[i] = one / (np.sqrt(lengths[i]) + tiny)
    for c in range(g.shape[0]):
        row = g[c]
        for i in range(lengths.shape[0]):
            row[i] *= lengths[i]


@strict
def _images(normals: Array, image: Array, inner: Array) -> None:
    """inner = P W."""
    inner[:] = 0.0
    for a in range(normals.shape[0]):
        for k in range(image.shape[0]):
            factor = np.float64(normals[a, k])
            for c in range(image.shape[1]):
                inner[a, c] += factor * np.float64(image[k, c])


@strict
def _turning(normals: Array) -> Array:
    """norm_2(p_a) norm_2(p_b) - p_a . p_b."""
    count = normals.shape[0]
    found = np.empty((count, count))
    for a in range(count):
        for b in range(count):
            product = wide_dot(normals[a], normals[b])
            size = math.sqrt(wide_square(normals[a]) * wide_square(normals[b]))
            found[a, b] = size - product
    return found


@strict
def _pulled(
    normals: Array, prices: Array, turning: Array, inner: Array, image: Array, slope: Array
) -> float:
    """slope += (PULL + prices . turning / 4) W + P^T prices P W; returns its norm_F."""
    pull = PULL
    for a in range(normals.shape[0]):
        for b in range(normals.shape[0]):
            pull += 0.25 * np.float64(prices[a, b]) * turning[a, b]
    for a in range(normals.shape[0]):
        for c in range(image.shape[1]):
            total = 0.0
            for b in range(normals.shape[0]):
                total += np.float64(prices[a, b]) * inner[b, c]
            for k in range(image.shape[0]):
                slope[k, c] += total * np.float64(normals[a, k])
    square = 0.0
    for k in range(image.shape[0]):
        for c in range(image.shape[1]):
            slope[k, c] += pull * np.float64(image[k, c])
            square += slope[k, c] * slope[k, c]
    return math.sqrt(square)


@strict
def _priced(inner: Array, rates: Array, prices: Array) -> float:
    """Prices move against the products; returns by how much at most."""
    most = 0.0
    for a in range(inner.shape[0]):
        for b in range(inner.shape[0]):
            product = 0.0
            for c in range(inner.shape[1]):
                product += inner[a, c] * inner[b, c]
            before = np.float64(prices[a, b])
            pace = PRICE * np.float64(rates[a]) * np.float64(rates[b])
            after = max(before - pace * product, 0.0) if a != b else 0.0
            most = max(most, abs(after - before))
            prices[a, b] = after
    return most
