"""exp, log, sine, cosine and sums in float64 as plain arithmetic, so that loops vectorise.

Within 2 units of the last place on the ranges named. The polynomials allow `contract` alone: a
fused multiply-add only sharpens them, whereas reassociation would undo the rounding tricks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pertcore.kernels.compiled.elements import summing
from pertcore.oracle import Array

ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
LOG2_E, LN2 = 1.4426950408889634, 0.6931471805599453
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ONE_BITS = np.int64(0x3FF0000000000000)
ROUNDER_BITS = np.int64(0x4338000000000000)
HALF_ROOT_BITS = np.int64(0x3FE6A09E00000000)  # sqrt(1/2), rounded down
EXPONENT = np.int64(52)
LEAST = -708.0

fused = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@fused
def exponential(x: float) -> float:
    """exp(x) for x <= 700; 0 below -708. Taylor of degree 12 on [-ln 2 / 2, ln 2 / 2]."""
    inside = x if x > LEAST else LEAST
    rounded = inside * LOG2_E + ROUNDER
    power = rounded - ROUNDER
    r = (inside - power * LN2_HIGH) - power * LN2_LOW
    s = 1 / 479001600.0
    s = s * r + 1 / 39916800.0
    s = s * r + 1 / 3628800.0
    s = s * r + 1 / 362880.0
    s = s * r + 1 / 40320.0
    s = s * r + 1 / 5040.0
    s = s * r + 1 / 720.0
    s = s * r + 1 / 120.0
    s = s * r + 1 / 24.0
    s = s * r + 1 / 6.0
    s = s * r + 0.5
    s = (s * r) * r + r + 1.0
    scale = np.int64((np.float64(rounded).view(np.int64) << EXPONENT) + ONE_BITS)
    return s * scale.view(np.float64) if x > LEAST else 0.0


@fused
def logarithm(x: float) -> float:
    """log(x) for normal x > 0. x = 2^k z with z near 1, log z by its series in (z - 1)/(z + 1)."""
    bits = np.float64(x).view(np.int64)
    shift = np.int64((bits - HALF_ROOT_BITS) >> EXPONENT)
    power = np.int64(ROUNDER_BITS + shift).view(np.float64) - ROUNDER
    f = np.int64(bits - (shift << EXPONENT)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = 1.479819860511658591e-01
    r = r * z + 1.531383769920937332e-01
    r = r * z + 1.818357216161805012e-01
    r = r * z + 2.222219843214978396e-01
    r = r * z + 2.857142874366239149e-01
    r = r * z + 3.999999999940941908e-01
    r = r * z + 6.666666666666735130e-01
    half = 0.5 * f * f
    return power * LN2_HIGH - ((half - (s * (half + r * z) + power * LN2_LOW)) - f)


@fused
def turn(u: float) -> Any:
    """cos(2 pi u) and sin(2 pi u) for 0 <= u <= 1: whole quarters are taken off exactly."""
    rounded = 4.0 * u + ROUNDER
    quarter = np.float64(rounded).view(np.int64)
    r = 6.283185307179586477 * (u - 0.25 * (rounded - ROUNDER))
    z = r * r
    s = 1.58969099521155010221e-10
    s = s * z - 2.50507602534068634195e-08
    s = s * z + 2.75573137070700676789e-06
    s = s * z - 1.98412698298579493134e-04
    s = s * z + 8.33333333332248946124e-03
    s = s * z - 1.66666666666666324348e-01
    s = r + (z * r) * s
    c = -1.13596475577881948265e-11
    c = c * z + 2.08757232129817482790e-09
    c = c * z - 2.75573143513906633035e-07
    c = c * z + 2.48015872894767294178e-05
    c = c * z - 1.38888888888741095749e-03
    c = c * z + 4.16666666666666019037e-02
    c = (1.0 - 0.5 * z) + (z * z) * c
    odd = (quarter & 1) != 0
    cosine, sine = (s if odd else c), (c if odd else s)
    return (
        -cosine if ((quarter + 1) & 2) != 0 else cosine,
        -sine if (quarter & 2) != 0 else sine,
    )


@summing
def total(values: Array) -> float:
    """Sum of the values, in an order of its own that is always the same."""
    found = 0.0
    for j in range(values.shape[0]):
        found += values[j]
    return found
