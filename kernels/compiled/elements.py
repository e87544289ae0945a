"""What happens to one entry: compiled without fast-math, since every rounding here is meant.

Arguments are scalars of the dtype of x unless said otherwise. Where the code depends on the type
(float32 or float64, scalar or array bound) it is chosen while compiling, and costs nothing.
`strict` compiles loops whose roundings matter, `summing` loops that only add up: there the order
of a sum is free, but NaN and infinity keep their meaning. `strict` says fastmath=False aloud:
left unsaid, Numba hands the caller's fast-math down to what it calls. `fusing` lets a product and
a sum become one rounding, for polynomials.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

strict = njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
summing = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}
)

fusing = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


def native(bound: Any, x: Any) -> Any:
    """A bound as it is used in a loop: a scalar in the dtype of the array x, an array as it is."""
    raise NotImplementedError("compiled code only")


@overload(native)
def _native(bound: Any, x: Any) -> Any:  # noqa: ARG001
    def whole(bound: Any, x: Any) -> Any:  # noqa: ARG001
        return bound

    def scalar(bound: Any, x: Any) -> Any:
        return x.dtype.type(bound)

    return whole if isinstance(bound, types.Array) else scalar


def at(bound: Any, i: int) -> Any:
    """The bound of entry i."""
    raise NotImplementedError("compiled code only")


@overload(at)
def _at(bound: Any, i: int) -> Any:  # noqa: ARG001
    def entry(bound: Any, i: int) -> Any:
        return bound[i]

    def scalar(bound: Any, i: int) -> Any:  # noqa: ARG001
        return bound

    return entry if isinstance(bound, types.Array) else scalar


def sign_bit(v: Any) -> Any:
    """The sign bit of v alone, as an integer of the width of v."""
    raise NotImplementedError("compiled code only")


@overload(sign_bit)
def _sign_bit(v: Any) -> Any:
    def single(v: Any) -> Any:
        return np.int32(np.float32(v).view(np.int32) & np.int32(-0x80000000))

    def double(v: Any) -> Any:
        return np.float64(v).view(np.int64) & np.int64(-0x8000000000000000)

    return single if v == types.float32 else double


def flip(v: Any, sign: Any) -> Any:
    """v, negated where `sign`, a `sign_bit`, is set."""
    raise NotImplementedError("compiled code only")


@overload(flip)
def _flip(v: Any, sign: Any) -> Any:  # noqa: ARG001
    def single(v: Any, sign: Any) -> Any:
        return np.int32(np.float32(v).view(np.int32) ^ sign).view(np.float32)

    def double(v: Any, sign: Any) -> Any:
        return np.int64(np.float64(v).view(np.int64) ^ sign).view(np.float64)

    return single if v == types.float32 else double


def below(v: Any) -> Any:
    """The next number below v; v is not 0."""
    raise NotImplementedError("compiled code only")


@overload(below)
def _below(v: Any) -> Any:
    def single(v: Any) -> Any:
        bits = np.float32(v).view(np.int32)
        return np.int32(bits - ((bits >> np.int32(31)) | np.int32(1))).view(np.float32)

    def double(v: Any) -> Any:
        bits = np.float64(v).view(np.int64)
        return np.int64(bits - ((bits >> np.int64(63)) | np.int64(1))).view(np.float64)

    return single if v == types.float32 else double


def magnitude_bits(v: Any) -> Any:
    """|v| as an integer that is ordered as |v| is; NaN is above infinity."""
    raise NotImplementedError("compiled code only")


@overload(magnitude_bits)
def _magnitude_bits(v: Any) -> Any:
    def single(v: Any) -> Any:
        return np.int32(np.float32(v).view(np.int32) & np.int32(0x7FFFFFFF))

    def double(v: Any) -> Any:
        return np.float64(v).view(np.int64) & np.int64(0x7FFFFFFFFFFFFFFF)

    return single if v == types.float32 else double


def from_bits(bits: Any) -> Any:
    """The number with these bits: float32 of an int32, float64 of an int64."""
    raise NotImplementedError("compiled code only")


@overload(from_bits)
def _from_bits(bits: Any) -> Any:
    def single(bits: Any) -> Any:
        return np.int32(bits).view(np.float32)

    def double(bits: Any) -> Any:
        return np.int64(bits).view(np.float64)

    return single if bits == types.int32 else double


@strict
def clamp(v: Any, low: Any, high: Any) -> Any:
    """v within [low, high]; NaN stays."""
    v = low if v < low else v
    return high if v > high else v


@strict
def clean(g: Any, largest: Any) -> Any:
    """g with NaN as 0 and infinities as the largest number of its dtype."""
    g = g if g == g else type(g)(0)
    return clamp(g, -largest, largest)


@strict
def floor_to(eps: float, x: Any) -> Any:
    """The largest number of the dtype of the array x that is <= eps (float64, >= 0)."""
    e = x.dtype.type(eps)
    return below(e) if np.float64(e) > eps else e


@strict
def plus_down(x: Any, e: Any) -> Any:
    """x + e rounded down, e >= 0: of two exact differences one tells whether s is above x + e.

    s - x is exact where |x| >= e and s - e elsewhere (Dekker 1971); the inexact one never errs
    towards "above", because rounding is monotone.
    """
    s = x + e
    return below(s) if (s - x > e) | (s - e > x) else s


@strict
def within(x: Any, v: Any, e: Any) -> Any:
    """v within [x - e, x + e], both ends rounded toward x; NaN in v stays."""
    side = sign_bit(v - x)
    end = plus_down(flip(x, side), e)
    w = flip(v, side)
    return flip(end if end < w else w, side)


@strict
def gap(a: Any, x: Any) -> float:
    """float64(a) - float64(x), as the ball is judged."""
    return np.float64(a) - np.float64(x)


@strict
def room(g: Any, x: Any, low: Any, high: Any) -> Any:
    """The distance from x to the bound that a step along -g meets; never negative or NaN."""
    r = high - x if g < 0 else x - low
    return r if r > 0 else type(x)(0)
