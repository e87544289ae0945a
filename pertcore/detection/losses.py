"""Losses of detectors for every attack: loss(f, y) -> (value (n,), cotangent like f).

Without labels y is the detector's own output at x: `distance` raises its squared distance,
weighted to where it saw something, `vanishing` lowers the scores of what it saw. With labels y is
`GridHead.targets`, and `yolo` raises the loss that a detector is trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.detection.heads import GridHead, Head, logistic
from pertcore.oracle import Array

# Below this score a place shows nothing that could vanish.
SEEN = 0.2


@dataclass(frozen=True)
class Loss:
    """A callable loss with the goal that attacks read: "minimise" or "maximise"."""

    evaluate: Callable[[Array, Array], tuple[Array, Array]]
    goal: str

    def __call__(self, f: Array, y: Array) -> tuple[Array, Array]:
        value, cotangent = self.evaluate(np.asarray(f), np.asarray(y))
        return value, cotangent.reshape(f.shape).astype(f.dtype)


def distance(weights: Any = 1.0) -> Loss:
    """sum_j w_j (f_j - y_j)^2, to be maximised; weights (K,) >= 0, or one for all.

    (10) of Balda et al. with every output in its own unit.
    """
    scale = np.asarray(weights, dtype=np.float64)

    def evaluate(f: Array, y: Array) -> tuple[Array, Array]:
        apart = f.astype(np.float64) - y
        return np.sum(scale * apart * apart, axis=1), 2 * scale * apart

    return Loss(evaluate, "maximise")


def seen_distance(head: GridHead) -> Loss:
    """sum over cells of o(y) |f_cell - y_cell|^2, o the objectness in y, to be maximised.

    The distance to the detector's own output y = f(x) where it saw something.
    """

    def evaluate(f: Array, y: Array) -> tuple[Array, Array]:
        there = head.cells(y)
        apart, weight = head.cells(f) - there, np.maximum(there[:, :1], 0)
        value = np.sum(weight * apart * apart, axis=(1, 2, 3))
        return value, 2 * weight * apart

    return Loss(evaluate, "maximise")


def vanishing(head: Head, *, score: float = SEEN) -> Loss:
    """The summed scores of the places and classes that y = f(x) shows with at least `score`.

    To be minimised: what was seen shall not be seen. Its gradient at x is not zero, so it needs
    no dither.
    """

    def evaluate(f: Array, y: Array) -> tuple[Array, Array]:
        clean = head.scored(y)
        shown = (clean.scores >= score).astype(np.float64)
        now = head.scored(f, clean.classes)
        return np.sum(shown * now.scores, axis=1), now.pullback(shown)

    return Loss(evaluate, "minimise")


def yolo(head: GridHead, *, coordinates: float = 5.0, empty: float = 0.5) -> Loss:
    """The training loss of Redmon et al. 2016, (3), on labelled boxes, to be maximised.

    Squared errors, summed: `coordinates` times those of centres and of the square roots of the
    sides, and those of objectness and of class probabilities, where a box is; `empty` times that of
    objectness elsewhere. y is `head.targets(boxes, classes)`.
    """

    def evaluate(f: Array, y: Array) -> tuple[Array, Array]:
        cells, wanted = head.cells(f), head.cells(y)
        full = wanted[:, :1] > 0.5
        weight = np.where(full, 1.0, 0.0) * np.ones_like(cells)
        weight[:, :1] = np.where(full, 1.0, empty)
        weight[:, 1:5] *= coordinates
        read, slope = _readable(head, cells)
        aim = np.array(wanted)
        aim[:, 3:5] = np.sqrt(wanted[:, 3:5])
        apart = read - aim
        value = np.sum(weight * apart * apart, axis=(1, 2, 3))
        return value, 2 * weight * apart * slope

    return Loss(evaluate, "maximise")


def _readable(head: GridHead, cells: Array) -> tuple[Array, Array]:
    """Cells with centres and roots of sides in place of raw box values, and the derivatives."""
    _, h, w = head.shape
    read, slope = np.array(cells), np.ones_like(cells)
    raw, sides = cells[:, 1:5], logistic(cells[:, 3:5])
    row, column = np.mgrid[:h, :w]
    bent = np.tanh(raw[:, :2])
    read[:, 1], read[:, 2] = (bent[:, 0] + column) / w, (bent[:, 1] + row) / h
    slope[:, 1:3] = (1 - bent * bent) / np.array([w, h])[:, None, None]
    read[:, 3:5] = np.sqrt(sides)
    slope[:, 3:5] = 0.5 * read[:, 3:5] * (1 - sides)
    return read, slope
