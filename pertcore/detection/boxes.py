"""Boxes with scores and classes: overlap, suppression of doubles, what is lost and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture: (m, 4) left, top, right, bottom as shares of its sides in [0, 1].

    scores (m,), best first after `suppressed`; classes (m,) int64.
    """

    boxes: Array
    scores: Array
    classes: Array

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: Array) -> Detections:
        """Some of them; `index` is a mask (m,) or positions."""
        return Detections(self.boxes[index], self.scores[index], self.classes[index])


@dataclass(frozen=True)
class Comparison:
    """Boxes before an attack, those of them that are lost, and boxes after it that are new."""

    before: int
    lost: int
    new: int
    after: int

    @property
    def removed(self) -> float:
        """Share of the boxes before that are lost; NaN where there was none."""
        return self.lost / self.before if self.before else float("nan")


def iou(one: Array, two: Array) -> Array:
    """Intersection over union of boxes (a, 4) and (b, 4) as (a, b) float64; 0 for empty unions."""
    one, two = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    corner = np.maximum(one[:, None, :2], two[None, :, :2])
    other = np.minimum(one[:, None, 2:], two[None, :, 2:])
    shared = np.prod(np.maximum(other - corner, 0), axis=-1)
    union = _areas(one)[:, None] + _areas(two)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _areas(boxes: Array) -> Array:
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))


def suppressed(found: Detections, *, overlap: float = 0.45) -> Detections:
    """Greedy non-maximum suppression within each class, best score first.

    A box goes where one of its class with a higher score overlaps it by more than `overlap` (IoU);
    of equal scores the first stays.
    """
    order = np.argsort(-found.scores, kind="stable")
    ranked = found.take(order)
    covers = iou(ranked.boxes, ranked.boxes) > overlap
    covers &= ranked.classes[:, None] == ranked.classes[None]
    kept = np.ones(len(ranked), dtype=bool)
    for place in range(len(ranked)):
        if kept[place]:
            kept[place + 1 :] &= ~covers[place, place + 1 :]
    return ranked.take(kept)


def compare(
    before: Sequence[Detections], after: Sequence[Detections], *, score: float = 0.5,
    overlap: float = 0.5,
) -> Comparison:  # fmt: skip
    """What became of the confident boxes of many pictures, counted over all of them.

    A box before is lost when no box of its class with a score of at least `score` overlaps it by
    `overlap` or more (IoU) after; a box after is new when no box before is its match so.
    """
    if len(before) != len(after):
        raise InputError(f"{len(before)} pictures before and {len(after)} after: give the same")
    counts = np.zeros(4, dtype=int)
    for one, two in zip(before, after, strict=True):
        one, two = one.take(one.scores >= score), two.take(two.scores >= score)
        same = one.classes[:, None] == two.classes[None]
        match = same & (iou(one.boxes, two.boxes) >= overlap)
        lost, new = ~match.any(axis=1), ~match.any(axis=0)
        counts += (len(one), np.count_nonzero(lost), np.count_nonzero(new), len(two))
    return Comparison(*map(int, counts))
