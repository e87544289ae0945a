"""Overlap, suppression and counting of boxes, from their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pertcore.detection.boxes import Detections, compare, iou, suppressed
from pertcore.errors import InputError


def detections(*rows):
    """(left, top, right, bottom, score, class) each."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def random_detections(seed, count=40, classes=3):
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(0, 0.6, (count, 2)), rng.uniform(0.1, 0.4, (count, 2))
    boxes = np.hstack([corner, corner + sides])
    return Detections(boxes, rng.uniform(size=count), rng.integers(0, classes, count))


def test_iou_counts_cells_of_a_fine_grid():
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.integers(0, 40, (30, 2, 2)), axis=1)
    boxes = np.hstack([boxes[:, 0], boxes[:, 1]])
    rows, columns = np.mgrid[:40, :40]
    filled = [(c >= b[0]) & (c < b[2]) & (r >= b[1]) & (r < b[3]) for b in boxes
              for r, c in [(rows, columns)]]  # fmt: skip
    for (i, one), (j, two) in itertools.product(enumerate(filled), repeat=2):
        union = np.count_nonzero(one | two)
        wanted = np.count_nonzero(one & two) / union if union else 0.0
        assert iou(boxes[i : i + 1] / 40, boxes[j : j + 1] / 40)[0, 0] == pytest.approx(wanted)


def test_iou_of_boxes_turned_inside_out_is_zero():
    assert iou(np.array([[0.5, 0.5, 0.4, 0.6]]), np.array([[0, 0, 1, 1.0]]))[0, 0] == 0


def by_definition(found, overlap):
    order = sorted(range(len(found)), key=lambda i: -found.scores[i])
    kept = []
    for i in order:
        doubles = [
            j for j in kept
            if found.classes[j] == found.classes[i]
            and iou(found.boxes[[j]], found.boxes[[i]])[0, 0] > overlap
        ]  # fmt: skip
        if not doubles:
            kept.append(i)
    return kept


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.45, 1.0])
def test_suppression_is_the_greedy_definition(overlap):
    for seed in range(10):
        found = random_detections(seed)
        wanted = found.take(np.array(by_definition(found, overlap)))
        left = suppressed(found, overlap=overlap)
        np.testing.assert_array_equal(left.boxes, wanted.boxes)
        np.testing.assert_array_equal(left.classes, wanted.classes)
    assert len(suppressed(detections())) == 0


def test_lost_and_new_are_counted_apart():
    here, there = (0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 0.9, 0.9)
    shifted = (0.02, 0.0, 0.22, 0.2)
    before = [detections((*here, 0.9, 1), (*there, 0.8, 2)), detections((*here, 0.6, 0))]
    after = [
        detections((*shifted, 0.5, 1), (*there, 0.9, 3)),  # kept; class changed: lost and new
        detections((*here, 0.49, 0)),  # below the score: lost, not new
    ]
    found = compare(before, after)
    assert (found.before, found.lost, found.new, found.after) == (3, 2, 1, 2)
    assert found.removed == pytest.approx(2 / 3)
    assert compare(before, after, score=0.4).lost == 1
    assert compare(before, after, overlap=0.95).lost == 3


def test_nothing_changed_is_nothing_lost():
    found = [suppressed(random_detections(seed)) for seed in range(3)]
    same = compare(found, found)
    assert same.lost == same.new == 0 and same.before == same.after > 0
    assert np.isnan(compare([detections()], [detections()]).removed)
    with pytest.raises(InputError, match="3 pictures before and 1 after"):
        compare(found, found[:1])
