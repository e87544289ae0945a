"""Outputs read as boxes: a grid of cells (FastestDet), a list of anchors (UltraFace).

A head takes flat outputs (n, K) or shaped ones, as `oracle(x)` gives them. `scored` is what the
losses need: a score for every place where a box can be, and its derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pertcore.detection.boxes import Detections, suppressed
from pertcore.errors import InputError
from pertcore.oracle import Array

# Powers of objectness and class probability in FastestDet's score.
POWERS = (0.6, 0.4)
LEAST = 1e-12

# SSD's factors of centres and sides.
VARIANCES = (0.1, 0.2)

# UltraFace: sides of the anchors, in pixels, of the cells of every stride.
ULTRAFACE = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}


@dataclass(frozen=True)
class Scores:
    """Score and class of every place (n, places), and how scores pull back to outputs (n, K)."""

    scores: Array
    classes: Array
    pullback: Callable[[Array], Array]


class Head(Protocol):
    """A detector's output, read."""

    def scored(self, f: Array, classes: Array | None = None) -> Scores:
        """Scores of the best class at every place, or of the `classes` (n, places) given."""

    def detections(
        self, f: Array, *, score: float = 0.5, overlap: float = 0.45
    ) -> list[Detections]:
        """Boxes of every sample with at least that score, doubles suppressed."""


@dataclass(frozen=True)
class GridHead:
    """Cells (5 + classes, h, w): objectness, four box values, class probabilities (FastestDet).

    With t the box values of the cell in row i, column j: the centre is ((tanh t_1 + j) / w,
    (tanh t_2 + i) / h), the sides are sigmoid t_3 and sigmoid t_4, all as shares of the picture.
    Score: objectness^powers[0] * probability^powers[1].
    """

    shape: tuple[int, int, int] = (85, 22, 22)
    powers: tuple[float, float] = POWERS

    def cells(self, f: Array) -> Array:
        """Outputs of any shape as (n, 5 + classes, h, w) float64; InputError where they differ."""
        if np.size(f) != len(f) * math.prod(self.shape):
            raise InputError(
                f"outputs of shape {np.shape(f)}: this head reads cells {self.shape}; give "
                "GridHead the shape (5 + classes, h, w) of the model's output"
            )
        return np.asarray(f, dtype=np.float64).reshape(len(f), *self.shape)

    def scored(self, f: Array, classes: Array | None = None) -> Scores:
        """Scores of the best class in every cell, or of `classes` (n, h * w)."""
        cells = self.cells(f).reshape(len(f), self.shape[0], -1)
        chosen = cells[:, 5:].argmax(axis=1) if classes is None else classes
        picked = chosen[:, None]
        thing = np.maximum(cells[:, 0], LEAST)
        sure = np.maximum(np.take_along_axis(cells[:, 5:], picked, axis=1)[:, 0], LEAST)
        a, b = self.powers
        scores = thing**a * sure**b

        def pullback(weights: Array) -> Array:
            cotangent = np.zeros_like(cells)
            cotangent[:, 0] = weights * a * scores / thing
            slope = (weights * b * scores / sure)[:, None]
            np.put_along_axis(cotangent[:, 5:], picked, slope, axis=1)
            return cotangent.reshape(len(f), -1)

        return Scores(scores, chosen, pullback)

    def boxes(self, f: Array) -> Array:
        """The box of every cell (n, h * w, 4): left, top, right, bottom."""
        centre, sides = self._centres_and_sides(self.cells(f)[:, 1:5])
        both = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)
        return np.moveaxis(both.reshape(len(f), 4, -1), 1, 2)

    def _centres_and_sides(self, t: Array) -> tuple[Array, Array]:
        _, h, w = self.shape
        row, column = np.mgrid[:h, :w]
        centre = np.stack([(np.tanh(t[:, 0]) + column) / w, (np.tanh(t[:, 1]) + row) / h], axis=1)
        return centre, logistic(t[:, 2:4])

    def detections(
        self, f: Array, *, score: float = 0.5, overlap: float = 0.45
    ) -> list[Detections]:
        """Boxes of every sample with at least that score, doubles suppressed."""
        return _listed(self.boxes(f), self.scored(f), score, overlap)

    def targets(self, boxes: Sequence[Array], classes: Sequence[Array]) -> Array:
        """Labelled boxes as the y of `losses.yolo`: (n, K) float64, in the layout of the output.

        Sample i has boxes[i] (m, 4) and classes[i] (m,). The cell of a box's centre holds 1, its
        centre and sides as shares of the picture, and a 1 at its class; other cells are 0. Of two
        boxes in one cell the last counts, as in Redmon et al. 2016.
        """
        depth, h, w = self.shape
        found = np.zeros((len(boxes), *self.shape))
        for sample, (corners, kinds) in enumerate(zip(boxes, classes, strict=True)):
            for box, kind in zip(np.asarray(corners, dtype=np.float64), kinds, strict=True):
                if not 0 <= kind < depth - 5:
                    raise InputError(f"class {kind}: the head has classes 0 to {depth - 6}")
                centre = (box[:2] + box[2:]) / 2
                column = int(np.clip(centre[0] * w, 0, w - 1))
                row = int(np.clip(centre[1] * h, 0, h - 1))
                found[sample, :, row, column] = 0
                found[sample, [0, 5 + int(kind)], row, column] = 1
                found[sample, 1:5, row, column] = *centre, *(box[2:] - box[:2])
        return found.reshape(len(found), -1)


@dataclass(frozen=True)
class AnchorHead:
    """Two outputs as one: class scores (m, 1 + classes) and box values (m, 4) of anchors.

    `outputs` is that of the oracle of `from_onnx(..., output=[scores, boxes])`, in that order.
    Class 0 is the background. `anchors` (m, 4), centre and sides: with t the box values, the
    centre is theirs plus 0.1 t_12 times their sides, the sides are theirs times exp(0.2 t_34)
    (Liu et al. 2016, SSD). None: the values are corners already.
    """

    outputs: Mapping[str, Any]
    anchors: Array | None = None

    def __post_init__(self) -> None:
        shapes = {name: tuple(part.shape) for name, part in self.outputs.items()}
        found = list(shapes.values())
        if len(found) != 2 or found[0][:-1] != found[1][:-1] or found[1][-1] != 4:
            raise InputError(
                f"outputs of shapes {shapes}: expected class scores (m, 1 + classes), then box "
                "values (m, 4), as of from_onnx(path, output=[scores, boxes])"
            )
        if self.anchors is not None and len(self.anchors) != found[1][0]:
            raise InputError(f"{len(self.anchors)} anchors: the model has {found[1][0]}")

    def _split(self, f: Array) -> tuple[Array, Array]:
        flat = np.asarray(f, dtype=np.float64).reshape(len(f), -1)
        scores, values = (part.read(flat) for part in self.outputs.values())
        if self.anchors is None:
            return scores, values
        centre = self.anchors[:, :2] + VARIANCES[0] * values[..., :2] * self.anchors[:, 2:]
        sides = self.anchors[:, 2:] * np.exp(VARIANCES[1] * values[..., 2:])
        return scores, np.concatenate([centre - sides / 2, centre + sides / 2], axis=2)

    def scored(self, f: Array, classes: Array | None = None) -> Scores:
        """Scores of the best class of every anchor, the background left out."""
        scores, _ = self._split(f)
        chosen = scores[:, :, 1:].argmax(axis=2) if classes is None else classes
        picked = chosen[:, :, None]
        part = next(iter(self.outputs.values()))

        def pullback(weights: Array) -> Array:
            inner = np.zeros_like(scores)
            np.put_along_axis(inner[:, :, 1:], picked, weights[:, :, None], axis=2)
            cotangent = np.zeros((len(f), np.asarray(f).reshape(len(f), -1).shape[1]))
            cotangent[:, part.place] = inner.reshape(len(f), -1) / part.scale
            return cotangent

        best = np.take_along_axis(scores[:, :, 1:], picked, axis=2)[:, :, 0]
        return Scores(best, chosen, pullback)

    def detections(
        self, f: Array, *, score: float = 0.5, overlap: float = 0.45
    ) -> list[Detections]:
        """Boxes of every sample with at least that score, doubles suppressed."""
        return _listed(self._split(f)[1], self.scored(f), score, overlap)


def ultraface_anchors(size: tuple[int, int] = (240, 320)) -> Array:
    """Centres and sides (m, 4) of UltraFace's anchors for pictures of size (h, w), as shares.

    Strides in order, then rows, columns and sides; 4420 for 240 x 320.
    """
    h, w = size
    found = []
    for stride, sides in ULTRAFACE.items():
        rows, columns, side = np.meshgrid(
            np.arange(-(-h // stride)), np.arange(-(-w // stride)), sides, indexing="ij"
        )
        shares = ((columns + 0.5) * stride / w, (rows + 0.5) * stride / h, side / w, side / h)
        found.append(np.stack(shares, axis=-1).reshape(-1, 4))
    return np.clip(np.concatenate(found), 0, 1)


def logistic(t: Array) -> Array:
    """1 / (1 + exp(-t))."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * t)))


def _listed(boxes: Array, scored: Scores, score: float, overlap: float) -> list[Detections]:
    found = []
    for places, scores, classes in zip(boxes, scored.scores, scored.classes, strict=True):
        kept = scores >= score
        confident = Detections(places[kept], scores[kept], classes[kept])
        found.append(suppressed(confident, overlap=overlap))
    return found
