"""Search over signs on a stored Gram matrix, in Numba: a test costs one entry, a flip one row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import strict
from pertcore.kernels.compiled.sampling import GOLDEN, base_of, mixed, unit_of
from pertcore.kernels.compiled.vectors import wide_add, wide_dot
from pertcore.oracle import Array

FLIP_NOISE = 1e-13
SWEEPS = 50
KICK = np.uint64(0)
SHARES = (0.02, 0.05)
CAP = (0.2, 0.98)


@strict
def gram_search(
    gram: Array,
    rows: Array,
    signs: Array,
    keys: Array,
    kicks: int,
    out: Array,
    values: Array,
) -> None:
    d = gram.shape[0]
    diagonal, slope = np.empty(d), np.empty(d)
    tried, tried_slope = np.empty(d, signs.dtype), np.empty(d)
    for k in range(signs.shape[0]):
        best = out[k]
        best[:] = signs[k]
        slope[:] = 0.0
        for i in range(d):
            diagonal[i] = gram[i, i]
            wide_add(slope, np.float64(best[i]), gram[i])
        value = _climb(gram, diagonal, best, slope)
        for t in range(kicks):
            tried[:] = best
            tried_slope[:] = slope
            _kick(gram, rows, base_of(keys[k], t, KICK), t, tried, tried_slope)
            risen = _climb(gram, diagonal, tried, tried_slope)
            if risen > value:
                best[:] = tried
                slope[:] = tried_slope
                value = risen
        values[k] = value


@strict
def _kick(gram: Array, rows: Array, base: Any, t: int, signs: Array, slope: Array) -> None:
    """Flips a share of the signs for even t, those whose rows are close to one row for odd t."""
    d, share = signs.shape[0], SHARES[t // 2 % 2]
    place = int(unit_of(mixed(base)) * d)
    level = CAP[0] + (CAP[1] - CAP[0]) * unit_of(mixed(base ^ GOLDEN))
    middle, sign = rows[place], np.float64(signs[place])
    for i in range(d):
        if t % 2 == 0:
            excess = share - unit_of(mixed(base ^ (GOLDEN * np.uint64(i))))
        else:
            excess = sign * np.float64(signs[i]) * wide_dot(rows[i], middle) - level
        if excess > 0.0:
            wide_add(slope, -2.0 * np.float64(signs[i]), gram[i])
            signs[i] = -signs[i]


@strict
def _climb(gram: Array, diagonal: Array, signs: Array, slope: Array) -> float:
    """Single flips while they raise s . G s, which is returned; slope = G s."""
    value = wide_dot(slope, signs)
    for _ in range(SWEEPS):
        flipped = False
        for i in range(signs.shape[0]):
            sign = np.float64(signs[i])
            rise = diagonal[i] - sign * slope[i]
            if rise > 0.0 and rise > FLIP_NOISE * math.sqrt(diagonal[i] * max(value, 0.0)):
                wide_add(slope, -2.0 * sign, gram[i])
                signs[i] = -signs[i]
                flipped = True
                value += 4.0 * rise
        if not flipped:
            break
    return value
