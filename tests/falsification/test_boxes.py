"""Decimal bounds become floats inside of them, never one float outside."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertcore.errors import InputError
from pertcore.falsification.boxes import Ends
from pertcore.falsification.terms import Bound

DTYPES = (np.float16, np.float32, np.float64)
DECIMALS = st.builds(
    lambda digits, places: str(Decimal(digits).scaleb(-places)),
    st.integers(-(10**22), 10**22),
    st.integers(-3, 40),
)


def box_of(dtype, lo, hi, strict=(False, False)):
    ends = Ends(1)
    ends.add([Bound(0, 1, lo, strict[0]), Bound(0, -1, hi, strict[1])])
    return ends.rounded(np.dtype(dtype), range(1), None)


def allowed(number, lo, hi, strict=(False, False)):
    """The definition: exactly inside."""
    x = Fraction(float(number))
    above = Fraction(lo) < x if strict[0] else Fraction(lo) <= x
    return above and (x < Fraction(hi) if strict[1] else x <= Fraction(hi))


@given(DECIMALS, DECIMALS, st.sampled_from(DTYPES), st.tuples(st.booleans(), st.booleans()))
def test_the_ends_are_the_outermost_floats_inside(a, b, dtype, strict):
    lo, hi = sorted((a, b), key=Fraction)
    limit = Fraction(float(np.finfo(dtype).max))
    if not -limit <= Fraction(lo) <= Fraction(hi) <= limit:
        return
    box = box_of(dtype, lo, hi, strict)
    if box is None:  # no number at all
        assert Fraction(lo) == Fraction(hi) and any(strict)
        return
    if box.nearest:  # numbers, but no float
        middle = (Fraction(lo) + Fraction(hi)) / 2
        assert box.nearest == {0: middle} and box.lo == box.hi
        around = [box.lo[0], np.nextafter(box.lo[0], dtype(-np.inf))]
        around.append(np.nextafter(box.lo[0], dtype(np.inf)))
        assert not any(allowed(f, lo, hi, strict) for f in around)
        distances = [abs(Fraction(float(f)) - middle) for f in around if np.isfinite(f)]
        # float64 stands between the decimal and a narrow float: half an ulp of it is let pass
        assert distances[0] <= min(distances) * (1 + Fraction(1, 10**6))
        return
    assert allowed(box.lo[0], lo, hi, strict) and allowed(box.hi[0], lo, hi, strict)
    for end, away in ((box.lo[0], dtype(-np.inf)), (box.hi[0], dtype(np.inf))):
        beyond = np.nextafter(end, away)
        assert not np.isfinite(beyond) or not allowed(beyond, lo, hi, strict)


def test_a_decimal_that_is_no_float():
    box = box_of(np.float32, "0.1", "0.1")
    assert box.lo == box.hi == np.float32(0.1) and box.nearest == {0: Fraction("0.1")}
    assert box_of(np.float32, "0.5", "0.5").nearest == {}


def test_empty_intervals():
    assert box_of(np.float32, "1", "0.5") is None
    assert box_of(np.float32, "1", "1", (True, False)) is None
    assert box_of(np.float32, "0.1", "0.0999999999999999999999999") is None


def test_the_tightest_of_several_bounds_counts():
    ends = Ends(1)
    ends.add([Bound(0, 1, text, False) for text in ("-1", "0.25", "0")])
    ends.add([Bound(0, -1, text, strict) for text, strict in (("1", False), ("1", True))])
    box = ends.rounded(np.dtype(np.float32), range(1), None)
    assert box.lo == 0.25 and box.hi == np.nextafter(np.float32(1), np.float32(0))


def test_bounds_beyond_the_largest_float():
    box = box_of(np.float16, "-1e10", "1e10")
    assert box.hi == np.finfo(np.float16).max == -box.lo


def test_an_input_without_a_bound_is_named():
    ends = Ends(2)
    ends.add([Bound(0, 1, "0", False), Bound(0, -1, "0", False), Bound(1, 1, "0", False)])
    with pytest.raises(InputError, match="X_1 has no bound from above"):
        ends.require("p")


def test_a_part_of_a_box_is_that_part_of_the_whole():
    ends = Ends(3)
    for i in range(3):
        ends.add([Bound(i, 1, "0.1", False), Bound(i, -1, "0.1" if i == 1 else "0.7", False)])
    base = ends.rounded(np.dtype(np.float32), range(3), None)
    tighter = ends.copy()
    touched = tighter.add([Bound(2, -1, "0.3", False)])
    part = tighter.rounded(np.dtype(np.float32), touched, base)
    whole = tighter.rounded(np.dtype(np.float32), range(3), None)
    np.testing.assert_array_equal(part.lo, whole.lo)
    np.testing.assert_array_equal(part.hi, whole.hi)
    assert part.nearest == whole.nearest and ends.upper[2] != tighter.upper[2]
