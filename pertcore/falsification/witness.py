"""A counterexample: judged exactly from a run of the untouched model, written as the competition
does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pertcore.falsification.cases import Case
from pertcore.falsification.terms import to_float
from pertcore.falsification.vnnlib import Property
from pertcore.oracle import Array

LARGEST = np.finfo(float).max


@dataclass(frozen=True)
class Witness:
    """An input in the model's dtype that violates nothing of a property, and the model's answer.

    `x` (inputs,); `y` (outputs,) float64, of ONNX Runtime on the untouched file. `margin` is the
    least slack of its case's atoms as written, in exact arithmetic; it is > 0 where the witness is
    strict, and 0 on a boundary that a weak inequality includes. Infinite where outputs are free.
    """

    x: Array
    y: Array
    margin: float

    @property
    def strict(self) -> bool:
        return self.margin > 0

    def text(self) -> str:
        """((X_0 v) ... (Y_0 v) ...), one pair a line, each number as exact as float64 needs."""
        pairs = [f"(X_{i} {float(v)!r})" for i, v in enumerate(self.x)]
        pairs += [f"(Y_{i} {float(v)!r})" for i, v in enumerate(self.y)]
        return "(" + "\n".join(pairs) + ")\n"


def judged(
    prop: Property, case: Case, x: Array, replay: Callable[[Array], Array]
) -> Witness | None:
    """The witness at x (inputs,), None where an atom of the case or its box is violated.

    The model is run on the untouched file; what it answers and x are taken as the exact numbers
    that the floats are, and the property's decimals as they are written. An input whose interval
    holds no float counts as the number that its float stands for.
    """
    inside = (x >= case.box.lo) & (x <= case.box.hi)
    if not inside.all():
        return None
    y = replay(x)
    if not np.isfinite(y).all():
        return None

    def value(code: int) -> Fraction:
        if code < 0:
            return Fraction(float(y[~code]))
        return case.box.nearest.get(code, Fraction(float(x[code])))

    margin = _least((prop.atoms[number] for number in case.atoms), value)
    return None if margin is None else Witness(x.copy(), y, margin)


def _least(atoms: Iterable, value: Callable[[int], Fraction]) -> float | None:
    """The least slack, None where an atom does not hold."""
    least: Fraction | None = None
    for atom in atoms:
        try:
            slack = atom.exact(value)
        except ZeroDivisionError:
            return None
        if slack < 0 or (atom.strict and slack == 0):
            return None
        least = slack if least is None else min(least, slack)
    if least is None:
        return np.inf
    # Rounding must not hide that a witness is strict.
    return float(np.clip(to_float(least), np.finfo(float).tiny, LARGEST)) if least else 0.0
