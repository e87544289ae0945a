"""Margins of cases over batches: the least slack of a case's atoms, >= 0 where all hold.

With s_a(x, y) the slack of atom a (`terms`), a property's margin is the maximum over its cases of
min_a s_a. Rows of a batch may belong to different cases. For the search, slacks are measured in
their spread over random points, as those of one case may have different units.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from pertcore.falsification.cases import Case
from pertcore.falsification.terms import Program
from pertcore.falsification.vnnlib import Property
from pertcore.oracle import Array

# Coefficients of more atoms times variables than this are kept sparse.
MOST_DENSE = 1 << 22
SOFT = 0.1


class Margins:
    """Slacks of the atoms of `cases`, one case a row of what is evaluated.

    `mask` (n, atoms) says whose they are. Arithmetic in float64.
    """

    def __init__(self, prop: Property, cases: Sequence[Case]) -> None:
        numbers = sorted({atom for case in cases for atom in case.atoms})
        column = {number: place for place, number in enumerate(numbers)}
        self._atoms = [prop.atoms[number] for number in numbers]
        self._programs = [(i, a) for i, a in enumerate(self._atoms) if isinstance(a, Program)]
        self.mask = np.zeros((len(cases), len(numbers)), bool)
        for row, case in enumerate(cases):
            self.mask[row, [column[atom] for atom in case.atoms]] = True
        rows = [([], 0.0) if isinstance(a, Program) else a.linear() for a in self._atoms]
        self._constant = np.array([constant for _, constant in rows])
        entries = [(i, v, c) for i, (coefficients, _) in enumerate(rows) for v, c in coefficients]
        self._of_y = _matrix([e for e in entries if e[1] < 0], len(rows), prop.outputs)
        self._of_x = _matrix([e for e in entries if e[1] >= 0], len(rows), prop.inputs)

    def taken(self, rows: Array) -> Margins:
        """The same for some of the rows."""
        other = copy(self)
        other.mask = self.mask[rows]
        return other

    def slacks(self, x: Array, y: Array) -> Array:
        """(n, atoms) at x (n, inputs) and y (n, outputs), float64; not a number counts as
        -infinity. Those of other cases are there too: see `mask`."""
        with np.errstate(all="ignore"):
            found = np.tile(self._constant, (len(x), 1))
            for matrix, values in ((self._of_y, y), (self._of_x, x)):
                if matrix is not None:
                    found += values @ matrix.T
        for place, program in self._programs:
            found[:, place] = program.values(x, y)
        found[np.isnan(found)] = -np.inf
        return found

    def least(self, slacks: Array) -> Array:
        """(n,) the margin of each row's own case; infinite for a case without atoms."""
        return np.where(self.mask, slacks, np.inf).min(axis=1, initial=np.inf)

    def missing(self, slacks: Array) -> Array:
        """(n,) the sum of what the atoms of each row's case lack, <= 0; else its margin."""
        lacking = np.where(self.mask, np.minimum(slacks, 0.0), 0.0).sum(axis=1)
        return np.where(lacking < 0, lacking, self.least(slacks))

    def weights(self, slacks: Array, summed: Array) -> Array:
        """(n, atoms) the slope of each row's aim by slacks: of `missing` where `summed`, else of
        a soft minimum of temperature SOFT times the margin."""
        own = np.where(self.mask, slacks, np.inf)
        least = self.least(slacks)
        finite = np.where(np.isfinite(least), least, 0.0)[:, None]
        heat = SOFT * np.abs(finite) + 1e-12
        with np.errstate(all="ignore"):
            soft = np.where(self.mask, np.exp(np.clip((finite - own) / heat, -50.0, 50.0)), 0.0)
        soft /= np.maximum(soft.sum(axis=1, keepdims=True), 1e-300)
        lacking = (self.mask & (own < 0)).astype(np.float64)
        return np.where((summed & (least < 0))[:, None], lacking, soft)

    def pull(self, weights: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Slopes by x (n, inputs) and y (n, outputs) of sum_a weights[:, a] s_a."""
        by_x, by_y = np.zeros(x.shape), np.zeros(y.shape)
        if self._of_y is not None:
            by_y += weights @ self._of_y
        if self._of_x is not None:
            by_x += weights @ self._of_x
        for place, program in self._programs:
            for code, slope in program.slopes(x, y).items():
                side = by_x if code >= 0 else by_y
                side[:, code if code >= 0 else ~code] += weights[:, place] * slope
        return np.nan_to_num(by_x), np.nan_to_num(by_y)


def _matrix(entries: list[tuple[int, int, float]], atoms: int, width: int) -> Any:
    """Coefficients (atoms, width), None where all are zero; sparse where many."""
    if not entries:
        return None
    rows, codes, values = (np.array(part) for part in zip(*entries, strict=True))
    columns = np.where(codes >= 0, codes, ~codes)
    if atoms * width > MOST_DENSE:
        from scipy.sparse import csr_array

        return csr_array((values, (rows, columns)), shape=(atoms, width))
    matrix = np.zeros((atoms, width))
    matrix[rows, columns] = values
    return matrix
