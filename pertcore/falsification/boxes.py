"""Boxes of inputs: decimal bounds, rounded inward to the floats that the model takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.falsification.terms import Bound
from pertcore.oracle import Array

# A decimal end of an interval, and whether the end itself is excluded.
End = tuple[Decimal, bool]


@dataclass(frozen=True)
class Box:
    """All points between `lo` and `hi`, (inputs,) in the model's dtype; `nearest` maps an input
    whose interval holds no float of that dtype to the number it stands for: the interval's middle,
    which for an input fixed at a decimal is that decimal."""

    lo: Array
    hi: Array
    nearest: dict[int, Fraction]


class Ends:
    """The tightest decimal bounds of each input among those added."""

    def __init__(self, count: int) -> None:
        self.lower: list[End | None] = [None] * count
        self.upper: list[End | None] = [None] * count

    def copy(self) -> Ends:
        other = Ends(0)
        other.lower, other.upper = list(self.lower), list(self.upper)
        return other

    def add(self, bounds: Iterable[Bound]) -> set[int]:
        """The inputs that were bounded."""
        touched = set()
        for bound in bounds:
            end = (Decimal(bound.text), bound.strict)
            side = self.lower if bound.sign > 0 else self.upper
            known = side[bound.variable]
            if known is None or _tighter(end, known, bound.sign):
                side[bound.variable] = end
            touched.add(bound.variable)
        return touched

    def require(self, name: str) -> None:
        """Raises InputError for an input that is not bounded on both sides."""
        for place, (lower, upper) in enumerate(zip(self.lower, self.upper, strict=True)):
            if lower is None or upper is None:
                side = "below" if lower is None else "above"
                raise InputError(
                    f"{name}: X_{place} has no bound from {side}: a search needs a box of inputs"
                )

    def rounded(self, dtype: np.dtype[Any], places: Iterable[int], base: Box | None) -> Box | None:
        """The box of these ends, of which `places` differ from `base`; None where it is empty."""
        places = list(places)
        lower: list[Any] = [self.lower[place] for place in places]  # no None: see `require`
        upper: list[Any] = [self.upper[place] for place in places]
        ends_lo, ends_hi = _inward(lower, dtype, 1), _inward(upper, dtype, -1)
        if base is None:
            lo, hi = ends_lo, ends_hi
            nearest: dict[int, Fraction] = {}
        else:
            lo, hi = base.lo.copy(), base.hi.copy()
            lo[places], hi[places] = ends_lo, ends_hi
            nearest = {k: v for k, v in base.nearest.items() if k not in set(places)}
        for at in np.flatnonzero(ends_lo > ends_hi):
            found = _without_float(lower[at], upper[at])
            if found is None:
                return None
            place = places[at]
            nearest[place] = found
            lo[place] = hi[place] = nearest_float(found, dtype)
        return Box(lo, hi, nearest)


def _tighter(end: End, known: End, sign: int) -> bool:
    if end[0] == known[0]:
        return end[1] and not known[1]
    return end[0] > known[0] if sign > 0 else end[0] < known[0]


def _inward(ends: list[Any], dtype: np.dtype[Any], sign: int) -> Array:
    """The first float of `dtype` at or beyond each end, upwards for sign 1.

    Rounding keeps order: unless the float equals the decimal rounded to float64, the two floats
    say which side it is on; only a tie needs the decimal itself.
    """
    wide = np.array([float(end[0]) for end in ends], np.float64)
    largest = float(np.finfo(dtype).max)
    found = np.clip(wide, -largest, largest).astype(dtype)
    outside = np.sign(found.astype(np.float64) - wide) == -sign
    for place in np.flatnonzero(found.astype(np.float64) == wide):
        decimal, strict = ends[place]
        side = Decimal(float(found[place])).compare(decimal)
        outside[place] = side == -sign or (strict and side == 0)
    found[outside] = np.nextafter(found[outside], np.array(sign * np.inf, dtype))
    return found


def _without_float(lower: End, upper: End) -> Fraction | None:
    """The middle of an interval, None where it holds no number at all."""
    low, high = Fraction(lower[0]), Fraction(upper[0])
    if low > high or (low == high and (lower[1] or upper[1])):
        return None
    return (low + high) / 2


def nearest_float(number: Fraction, dtype: np.dtype[Any]) -> Any:
    """The float of `dtype` nearest to a number, not beyond the largest."""
    largest = np.finfo(dtype).max
    try:
        wide = float(number)
    except OverflowError:
        return largest if number > 0 else -largest
    return np.clip(np.array(wide), -float(largest), float(largest)).astype(dtype)[()]
