"""Atoms of a property: slacks that are >= 0 where the atom holds, exactly and over batches.

A variable is an integer: X_i is i, Y_j is ~j, that is -1 - j. The atom a <= b has the slack b - a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from pertcore.oracle import Array

Value = Callable[[int], Fraction]
ONE, ZERO = Fraction(1), Fraction(0)


class Bound(NamedTuple):
    """variable >= number (sign 1) or <= number (sign -1), the number as it was written."""

    variable: int
    sign: int
    text: str
    strict: bool

    def exact(self, value: Value) -> Fraction:
        return self.sign * (value(self.variable) - Fraction(self.text))

    def linear(self) -> tuple[list[tuple[int, float]], float]:
        return [(self.variable, float(self.sign))], -self.sign * float(self.text)

    def variables(self) -> set[int]:
        return {self.variable}


class Linear(NamedTuple):
    """sum of coefficient * variable, plus a constant."""

    coefficients: dict[int, Fraction]
    constant: Fraction
    strict: bool

    def exact(self, value: Value) -> Fraction:
        return sum((c * value(v) for v, c in self.coefficients.items()), self.constant)

    def linear(self) -> tuple[list[tuple[int, float]], float]:
        return [(v, to_float(c)) for v, c in self.coefficients.items()], to_float(self.constant)

    def variables(self) -> set[int]:
        return set(self.coefficients)


class Program(NamedTuple):
    """A term that is not linear, in postfix order: variables as int, numbers as Fraction,
    operators as ("+", how many)."""

    code: tuple[Any, ...]
    strict: bool

    def exact(self, value: Value) -> Fraction:
        """Raises ZeroDivisionError where the term divides by zero."""
        return _run(self.code, value, lambda number: number)

    def values(self, x: Array, y: Array) -> Array:
        """(n,) slacks at x (n, inputs) and y (n, outputs), not finite where a division fails."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(_run(self.code, _columns(x, y), to_float), len(x))

    def slopes(self, x: Array, y: Array) -> dict[int, Array]:
        """Variable -> derivative (n,), by a sweep back over the code."""
        stack: list[int] = []  # places on the tape
        tape: list[tuple[Any, list[int], Any]] = []
        column = _columns(x, y)
        with np.errstate(all="ignore"):
            for step in self.code:
                if isinstance(step, tuple):
                    given = stack[-step[1] :]
                    del stack[-step[1] :]
                    result = _apply(step[0], [tape[place][2] for place in given])
                else:
                    given = []
                    result = column(step) if isinstance(step, int) else to_float(step)
                stack.append(len(tape))
                tape.append((step, given, result))
            return _swept(tape)

    def variables(self) -> set[int]:
        return {step for step in self.code if isinstance(step, int)}


Atom = Bound | Linear | Program


def difference(a: Atom, b: Atom, strict: bool) -> Linear | Program:
    """The slack a - b of two terms; may reuse the memory of `a`."""
    return combined("-", [a, b])._replace(strict=strict)


def number(text: str) -> Linear:
    return Linear({}, Fraction(text), False)


def variable(code: int) -> Linear:
    return Linear({code: ONE}, ZERO, False)


def combined(operator: str, terms: Sequence[Any]) -> Linear | Program:
    """The term of an operator, linear where that is possible; uses up its arguments.

    Raises ZeroDivisionError for a division by the constant zero.
    """
    if len(terms) == 1:
        return _negated(terms[0]) if operator == "-" else terms[0]
    if all(isinstance(term, Linear) for term in terms):
        first, *rest = terms
        if operator in "+-":
            return _sum(first, rest, ONE if operator == "+" else -ONE)
        moving = [term for term in terms if term.coefficients]
        if operator == "*" and len(moving) <= 1:
            return _product(moving[0] if moving else first, terms)
        if operator == "/" and not any(term.coefficients for term in rest):
            for divisor in rest:
                first = _scaled(first, 1 / divisor.constant)
            return first
    code = [step for term in terms for step in _code(term)]
    return Program((*code, (operator, len(terms))), False)


def _sum(first: Linear, rest: Sequence[Linear], sign: Fraction) -> Linear:
    # The longer of two is kept, so that sums nested on either side cost their own length.
    if len(rest) == 1 and sign == ONE and len(rest[0].coefficients) > len(first.coefficients):
        first, rest = rest[0], [first]
    coefficients, constant = first.coefficients, first.constant
    for term in rest:
        constant += sign * term.constant
        for code, c in term.coefficients.items():
            coefficients[code] = coefficients.get(code, ZERO) + sign * c
    return Linear(coefficients, constant, False)


def _product(moving: Linear, terms: Sequence[Linear]) -> Linear:
    product, skipped = moving, False
    for term in terms:
        if term is moving and not skipped:
            skipped = True
            continue
        product = _scaled(product, term.constant)
    return product


def _scaled(term: Linear, factor: Fraction) -> Linear:
    coefficients = {v: c * factor for v, c in term.coefficients.items()}
    return Linear(coefficients, term.constant * factor, False)


def _negated(term: Linear | Program) -> Linear | Program:
    if isinstance(term, Program):
        return Program((-ONE, *term.code, ("*", 2)), False)
    return _scaled(term, -ONE)


def _code(term: Linear | Program) -> list[Any]:
    if isinstance(term, Program):
        return list(term.code)
    steps: list[Any] = [term.constant]
    for code, c in term.coefficients.items():
        steps += [code] if c == ONE else [c, code, ("*", 2)]
    if not term.coefficients:
        return steps
    return [*steps, ("+", len(term.coefficients) + 1)]


def _run(code: Sequence[Any], value: Callable[[int], Any], number: Callable[[Any], Any]) -> Any:
    stack: list[Any] = []
    for step in code:
        if isinstance(step, tuple):
            given = stack[-step[1] :]
            del stack[-step[1] :]
            stack.append(_apply(step[0], given))
        else:
            stack.append(value(step) if isinstance(step, int) else number(step))
    return stack[0]


def _apply(operator: str, given: Sequence[Any]) -> Any:
    result = given[0]
    for other in given[1:]:
        if operator == "+":
            result = result + other
        elif operator == "-":
            result = result - other
        elif operator == "*":
            result = result * other
        elif isinstance(other, Fraction):
            result = result / other
        else:
            result = np.divide(result, other)
    return result


def _swept(tape: Sequence[tuple[Any, list[int], Any]]) -> dict[int, Array]:
    back: list[Any] = [0.0] * len(tape)
    back[-1] = 1.0
    slopes: dict[int, Array] = {}
    for place in range(len(tape) - 1, -1, -1):
        step, given, _ = tape[place]
        if isinstance(step, int):
            slopes[step] = slopes.get(step, 0.0) + back[place]
        if not isinstance(step, tuple):
            continue
        values = [tape[argument][2] for argument in given]
        for index, argument in enumerate(given):
            back[argument] = back[argument] + back[place] * _partial(step[0], values, index)
    return slopes


def _partial(operator: str, values: Sequence[Any], index: int) -> Any:
    if operator in "+-":
        return -1.0 if operator == "-" and index else 1.0
    others = [value for place, value in enumerate(values) if place != index]
    if operator == "*":
        return _apply("*", [1.0, *others])
    if index == 0:
        return _apply("/", [1.0, *others])
    return -_apply("/", [*values, values[index]])


def _columns(x: Array, y: Array) -> Callable[[int], Array]:
    return lambda code: x[:, code] if code >= 0 else y[:, ~code]


def to_float(number: Fraction) -> float:
    """The nearest float64; beyond its range, infinite."""
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf
