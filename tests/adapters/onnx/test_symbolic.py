"""Dimensions as polynomials: they compute like integers, and equal sums are equal objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertcore.adapters.onnx.symbolic import Poly, evaluate, product, symbol, symbols

N, H = symbol("N"), symbol("H")
ATOMS = {"N": st.integers(1, 9), "H": st.integers(1, 9)}
SIZES = st.recursive(
    st.integers(0, 6) | st.sampled_from([N, H]),
    lambda inner: st.builds(
        lambda kind, a, b: {"+": a + b, "-": a - b, "*": a * b}[kind],
        st.sampled_from("+-*"),
        inner,
        inner,
    ),
    max_leaves=6,
)


@given(SIZES, SIZES, st.fixed_dictionaries(ATOMS))
def test_arithmetic_is_that_of_the_values(a, b, values):
    x, y = evaluate(a, values), evaluate(b, values)
    assert evaluate(a + b, values) == x + y
    assert evaluate(a - b, values) == x - y
    assert evaluate(a * b, values) == x * y


@given(SIZES, st.integers(1, 7), st.fixed_dictionaries(ATOMS))
def test_division_rounds_down(a, k, values):
    assert evaluate(a // k, values) == evaluate(a, values) // k


@given(SIZES, SIZES)
def test_equal_sums_are_equal(a, b):
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) - b == a


def test_constants_are_plain_integers():
    assert N - N == 0 and isinstance(N - N, int)
    assert (2 * N) // N == 2
    assert (6 * N * H) // (2 * H) == 3 * N
    assert product([N, 3, H]) == 3 * H * N


def test_the_known_part_of_a_quotient_is_taken_out():
    assert (2 * H + 3) // 2 == H + 1
    assert str((H + 1) // 2) == "((1+H)//(2))"
    assert symbols((H + N) // 2) == {"H", "N"}


def test_a_missing_value_is_named():
    with pytest.raises(KeyError, match="H"):
        evaluate(N * H, {"N": 2})
    assert isinstance(N, Poly)
