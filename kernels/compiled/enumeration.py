"""The best signs of every subset of columns: the Numba version of `definitions.enumeration`.

With G the Gram matrix of a subset the value is s . G s. The signs of up to LOW entries run
through all their patterns in one vectorised loop; the others follow a Gray code, one flip a step,
so that sixteen values cost little more than one.
"""

from __future__ import annotations

import numpy as np

from pertcore.kernels.compiled.elements import strict
from pertcore.kernels.compiled.quadratic import DIGITS, greedy_ordered, norm_order
from pertcore.kernels.compiled.vectors import wide_dot, wide_square
from pertcore.oracle import Array

TIE = 1e-12
LOW, PATTERNS = 4, 16
FRESH = 1024
"""After so many flips the running sums are taken afresh."""


@strict
def subset_greedy(
    columns: Array, members: Array, starts: Array, signs: Array, values: Array
) -> None:
    most = _longest(starts)
    gathered = np.empty((most, columns.shape[2]), columns.dtype)
    squares, found = np.empty(most), np.empty(most, columns.dtype)
    order, spare = np.empty(most, np.int64), np.empty(most, np.int64)
    counts, image = np.empty(DIGITS, np.int64), np.empty(columns.shape[2])
    signs[:] = 0
    for k in range(columns.shape[0]):
        for s in range(starts.shape[0] - 1):
            first, size = starts[s], starts[s + 1] - starts[s]
            for z in range(size):
                gathered[z] = columns[k, members[first + z]]
                squares[z] = wide_square(gathered[z])
            norm_order(squares[:size], order[:size], spare, counts)
            image[:] = 0.0
            if size > 0:
                greedy_ordered(gathered, order[:size], image, found)
            values[k, s] = wide_square(image)
            for z in range(size):
                signs[k, members[first + z]] = found[z]


@strict
def _longest(starts: Array) -> int:
    most = 0
    for s in range(starts.shape[0] - 1):
        most = max(most, starts[s + 1] - starts[s])
    return most


@strict
def subset_exact(
    columns: Array, members: Array, starts: Array, signs: Array, values: Array
) -> None:
    most = _longest(starts)
    gram, patterns = np.empty((most, most)), _patterns()
    found, slope, worth = np.empty(most), np.empty(most), np.empty(PATTERNS)
    one = columns.dtype.type(1)
    signs[:] = 0
    for k in range(columns.shape[0]):
        for s in range(starts.shape[0] - 1):
            chosen = members[starts[s] : starts[s + 1]]
            size = chosen.shape[0]
            for i in range(size):
                for j in range(i + 1):
                    gram[i, j] = wide_dot(columns[k, chosen[i]], columns[k, chosen[j]])
                    gram[j, i] = gram[i, j]
            best = _enumerate(gram, size, patterns, found, slope, worth) if size > 1 else 0
            values[k, s] = _value(gram, size, best, found)
            for i in range(size):
                signs[k, chosen[i]] = -one if found[i] < 0.0 else one


@strict
def _patterns() -> Array:
    """Row b holds the sign of bit b of 0..PATTERNS-1."""
    found = np.empty((LOW, PATTERNS))
    for b in range(LOW):
        for c in range(PATTERNS):
            found[b, c] = -1.0 if (c >> b) & 1 else 1.0
    return found


@strict
def _value(gram: Array, size: int, number: int, signs: Array) -> float:
    """s . G s of the signs with this number, which are written to `signs`."""
    total = 0.0
    for i in range(size):
        signs[i] = -1.0 if i > 0 and (number >> (i - 1)) & 1 else 1.0
        across = 0.0
        for j in range(i):
            across += signs[j] * gram[i, j]
        total += gram[i, i] + 2.0 * signs[i] * across
    return total


@strict
def _enumerate(
    gram: Array, size: int, patterns: Array, signs: Array, slope: Array, worth: Array
) -> int:
    """The number of the best signs: bit b set turns sign b + 1; sign 0 is +1."""
    low = min(LOW, size - 1)
    high, count = size - 1 - low, 1 << low
    inner = np.zeros(PATTERNS)
    for c in range(count):
        for i in range(low):
            for j in range(low):
                inner[c] += patterns[i, c] * patterns[j, c] * gram[1 + i, 1 + j]
    best, bar, number, code = -1.0, -1.0, 0, 0
    total = 0.0
    for step in range(1 << high):
        if step > 0:
            bit = _lowest_bit(step)
            total += _turn(gram, size, 1 + low + bit, signs, slope)
            code ^= 1 << bit
        if step % FRESH == 0:
            total = _refresh(gram, size, low, code, signs, slope)
        hits = _block(total, inner, slope, low, patterns, bar, worth)
        for c in range(count if hits > 0 else 0):
            here = (code << low) | c
            if worth[c] > best * (1 + TIE) or (worth[c] >= bar and here < number):
                number = here
            best = max(best, worth[c])
        bar = best * (1 - TIE)
    return number


@strict
def _lowest_bit(step: int) -> int:
    bit = 0
    while not (step >> bit) & 1:
        bit += 1
    return bit


@strict
def _turn(gram: Array, size: int, i: int, signs: Array, slope: Array) -> float:
    """Sign i turns: the change of the value without the low entries; slope follows."""
    change = -4.0 * signs[i] * (slope[i] - signs[i] * gram[i, i])
    signs[i] = -signs[i]
    row, factor = gram[i], 2.0 * signs[i]
    for j in range(size):
        slope[j] += factor * row[j]
    return change


@strict
def _refresh(gram: Array, size: int, low: int, code: int, signs: Array, slope: Array) -> float:
    """Signs of `code`, slope_i = sum over the others but the low of s_j G_ij; their s . G s."""
    total = 0.0
    for i in range(size):
        signs[i] = -1.0 if i > low and (code >> (i - 1 - low)) & 1 else 1.0
    for i in range(size):
        slope[i] = gram[i, 0]
        for j in range(1 + low, size):
            slope[i] += signs[j] * gram[i, j]
        total += signs[i] * slope[i] if i == 0 or i > low else 0.0
    return total


@strict
def _block(
    total: float,
    inner: Array,
    slope: Array,
    low: int,
    patterns: Array,
    bar: float,
    worth: Array,
) -> int:
    """worth = the values of all patterns of the low entries; how many of them reach `bar`."""
    t = 2.0 * slope[1] if low > 0 else 0.0
    u = 2.0 * slope[2] if low > 1 else 0.0
    v = 2.0 * slope[3] if low > 2 else 0.0
    w = 2.0 * slope[4] if low > 3 else 0.0
    a, b, c, e = patterns[0], patterns[1], patterns[2], patterns[3]
    hits = 0
    for j in range(PATTERNS):
        value = total + inner[j] + ((t * a[j] + u * b[j]) + (v * c[j] + w * e[j]))
        worth[j] = value
        hits += value >= bar
    return hits
