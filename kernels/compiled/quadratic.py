"""Signs that make norm_2(J s) large: the Numba version of `definitions.quadratic`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import strict, summing
from pertcore.kernels.compiled.vectors import wide_add, wide_dot, wide_square
from pertcore.oracle import Array

FLIP_NOISE = 1e-13
DROPPED, HALF = np.uint64(20), np.uint64(1 << 19)
KEY_BITS, DIGIT_BITS, DIGITS = 44, 11, 2048
DIGIT = np.uint64(DIGITS - 1)
NARROW = 16
FEW = 48
CHUNK = 128


@strict
def column_squares(columns: Array, out: Array) -> None:
    for k in range(columns.shape[0]):
        one, squares = columns[k], out[k]
        for i in range(one.shape[0]):
            squares[i] = wide_square(one[i])


@strict
def norm_order(squares: Array, order: Array, spare: Array, counts: Array) -> None:
    """order = indices by decreasing key, ties by index: radix sort, the lowest digits first.

    A digit that all keys share is skipped, as the leading digits often are; a few keys are
    inserted one by one. spare (d,) int64 and counts (DIGITS,) int64 are room to work in.
    """
    d = squares.shape[0]
    bits = squares.view(np.uint64)
    if d <= FEW:
        _insert(bits, order)
        return
    for i in range(d):
        order[i] = i
    for shift in range(0, KEY_BITS, DIGIT_BITS):
        counts[:] = 0
        for i in range(d):
            counts[_digit(bits[i], shift)] += 1
        if counts[_digit(bits[0], shift)] == d:
            continue
        start = 0
        for digit in range(DIGITS):
            size = counts[digit]
            counts[digit] = start
            start += size
        for i in range(d):
            digit = _digit(bits[order[i]], shift)
            spare[counts[digit]] = order[i]
            counts[digit] += 1
        order[:] = spare


@strict
def _insert(bits: Array, order: Array) -> None:
    for i in range(bits.shape[0]):
        key, place = (bits[i] + HALF) >> DROPPED, i
        while place > 0 and (bits[order[place - 1]] + HALF) >> DROPPED < key:
            order[place] = order[place - 1]
            place -= 1
        order[place] = i


@strict
def _digit(bits: Any, shift: int) -> Any:
    """A digit of the key, complemented so that large keys come first."""
    return np.int64(DIGIT - (((bits + HALF) >> (DROPPED + np.uint64(shift))) & DIGIT))


@strict
def greedy_signs(columns: Array, out: Array) -> None:
    n, d, width = columns.shape
    squares = np.empty(d)
    order, spare = np.empty(d, np.int64), np.empty(d, np.int64)
    counts = np.empty(DIGITS, np.int64)
    padded = np.zeros((CHUNK, NARROW), columns.dtype)
    image = np.empty(max(width, NARROW))
    for k in range(n if d > 0 else 0):
        one, signs = columns[k], out[k]
        for i in range(d):
            squares[i] = wide_square(one[i])
        norm_order(squares, order, spare, counts)
        image[:] = 0.0
        if width <= NARROW:
            _narrow_greedy(one, order, padded, image, signs)
        else:
            greedy_ordered(one, order, image, signs)


@strict
def greedy_ordered(columns: Array, order: Array, image: Array, signs: Array) -> None:
    """The greedy signs in this order, which is not empty; image, zero before, is J s after.

    Two columns a reading of the image: the product of the second with s_1 J_1 comes from J_1 . J_2.
    """
    one, count = columns.dtype.type(1), order.shape[0]
    first, second = columns[order[0]], columns[order[0]]
    s, t = 0.0, 0.0
    for place in range(0, count - 1, 2):
        a, b = columns[order[place]], columns[order[place + 1]]
        along, across, both = _add_then_multiply(image, s, first, t, second, a, b)
        s = -1.0 if along < 0.0 else 1.0
        t = -1.0 if across + s * both < 0.0 else 1.0
        signs[order[place]] = one if s > 0.0 else -one
        signs[order[place + 1]] = one if t > 0.0 else -one
        first, second = a, b
    wide_add(image, s, first)
    wide_add(image, t, second)
    if count % 2 == 1:
        last = order[count - 1]
        s = -1.0 if wide_dot(image, columns[last]) < 0.0 else 1.0
        signs[last] = one if s > 0.0 else -one
        wide_add(image, s, columns[last])


@summing
def _add_then_multiply(
    image: Array, s: float, first: Array, t: float, second: Array, a: Array, b: Array
) -> Any:
    """image += s first + t second; then image . a, image . b and a . b."""
    along, across, both = 0.0, 0.0, 0.0
    for j in range(image.shape[0]):
        v = image[j] + (s * np.float64(first[j]) + t * np.float64(second[j]))
        image[j] = v
        x, y = np.float64(a[j]), np.float64(b[j])
        along += v * x
        across += v * y
        both += x * y
    return along, across, both


@strict
def _narrow_greedy(columns: Array, order: Array, padded: Array, image: Array, signs: Array) -> None:
    """Columns of at most NARROW entries, filled up with zeros, gathered CHUNK at a time."""
    for start in range(0, order.shape[0], CHUNK):
        here = order[start : start + CHUNK]
        for place in range(here.shape[0]):
            column, target = columns[here[place]], padded[place]
            for j in range(column.shape[0]):
                target[j] = column[j]
        _narrow_chunk(padded, here, image, signs)


@strict
def _narrow_chunk(padded: Array, order: Array, image: Array, signs: Array) -> None:
    one = padded.dtype.type(1)
    for place in range(order.shape[0]):
        column = padded[place]
        product = _narrow_dot(image, column)
        sign = -1.0 if product < 0.0 else 1.0
        signs[order[place]] = -one if product < 0.0 else one
        for j in range(NARROW):
            image[j] += sign * np.float64(column[j])


@summing
def _narrow_dot(image: Array, column: Array) -> float:
    total = 0.0
    for j in range(NARROW):
        total += image[j] * np.float64(column[j])
    return total


@strict
def one_opt(columns: Array, signs: Array, sweeps: int, out: Array, values: Array) -> None:
    squares, image = np.empty(columns.shape[1]), np.empty(columns.shape[2])
    for k in range(columns.shape[0]):
        one, chosen = columns[k], out[k]
        chosen[:] = signs[k]
        image[:] = 0.0
        for i in range(one.shape[0]):
            squares[i] = wide_square(one[i])
            wide_add(image, np.float64(chosen[i]), one[i])
        for _ in range(sweeps):
            if not _sweep(one, squares, chosen, image):
                break
        values[k] = wide_square(image)


@strict
def _sweep(columns: Array, squares: Array, signs: Array, image: Array) -> bool:
    flipped, value = False, wide_square(image)
    for i in range(columns.shape[0]):
        sign = np.float64(signs[i])
        rise = squares[i] - sign * wide_dot(image, columns[i])
        if rise > FLIP_NOISE * math.sqrt(squares[i] * value):
            wide_add(image, -2.0 * sign, columns[i])
            signs[i] = -signs[i]
            flipped = True
            value += 4.0 * rise
    return flipped
