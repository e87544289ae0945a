"""Powers, and powers and logarithms of two, in a form that vectorises."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from pertcore.kernels.compiled.elementary import LN2, LOG2_E, exponential, logarithm
from pertcore.kernels.compiled.elements import fusing


def power(t: Any, r: Any) -> Any:
    """t^r; t in [0, 1], r > 0. float32: relative error below 1e-7 (1 + log2 of 1/result)."""
    raise NotImplementedError("compiled code only")


@overload(power)
def _power(t: Any, r: Any) -> Any:  # noqa: ARG001
    def single(t: Any, r: Any) -> Any:
        return _exp2(np.float32(r) * _log2(t)) if t > 0 else np.float32(0)

    def double(t: Any, r: Any) -> Any:
        return t**r

    return single if t == types.float32 else double


def exp2(y: Any) -> Any:
    """2^y for y <= 60, to rounding; 0 below the normal numbers."""
    raise NotImplementedError("compiled code only")


@overload(exp2)
def _exp2_of(y: Any) -> Any:
    def single(y: Any) -> Any:
        return _exp2(y)

    def double(y: Any) -> Any:
        return exponential(y * LN2)

    return single if y == types.float32 else double


def log2(t: Any) -> Any:
    """log2 of a normal t > 0, to rounding."""
    raise NotImplementedError("compiled code only")


@overload(log2)
def _log2_of(t: Any) -> Any:
    def single(t: Any) -> Any:
        return _log2(t)

    def double(t: Any) -> Any:
        return logarithm(t) * LOG2_E

    return single if t == types.float32 else double


@fusing
def _log2(t: Any) -> Any:
    """log2 t = exponent + u P(u), mantissa 1 + u in [sqrt(1/2), sqrt(2)); Chebyshev fit of P."""
    tiny = t < np.float32(1.1754943508222875e-38)
    bits = np.float32(t * np.float32(16777216) if tiny else t).view(np.int32)
    shifted = np.int32(bits - np.int32(0x3F3504F3))
    exponent = np.int32(shifted >> np.int32(23))
    power_of_two = np.float32(exponent) - np.float32(24 if tiny else 0)
    mantissa = np.int32(bits - np.int32(exponent << np.int32(23))).view(np.float32)
    u = mantissa - np.float32(1)
    s = np.float32(0.12614846229553223)
    s = s * u - np.float32(0.20742103457450867)
    s = s * u + np.float32(0.21566985547542572)
    s = s * u - np.float32(0.23892034590244293)
    s = s * u + np.float32(0.2879183292388916)
    s = s * u - np.float32(0.36070483922958374)
    s = s * u + np.float32(0.48091059923171997)
    s = s * u - np.float32(0.7213473320007324)
    s = s * u + np.float32(1.4426950216293335)
    return s * u + power_of_two


@fusing
def _exp2(y: Any) -> Any:
    """2^y for y <= 126: 2^round(y) times a polynomial in the rest; below 2^-126 it is 0."""
    y = max(y, np.float32(-127))
    whole = np.float32(y + np.float32(12582912)) - np.float32(12582912)
    u = y - whole
    s = np.float32(0.00015469732170458883)
    s = s * u + np.float32(0.0013400432653725147)
    s = s * u + np.float32(0.00961802527308464)
    s = s * u + np.float32(0.05550327152013779)
    s = s * u + np.float32(0.24022650718688965)
    s = s * u + np.float32(0.6931471824645996)
    s = s * u + np.float32(1)
    bits = np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23))
    return s * bits.view(np.float32)
