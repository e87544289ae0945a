"""Outputs of detectors read as boxes, by hand and cell by cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pertcore.detection.heads import AnchorHead, GridHead, logistic, ultraface_anchors
from pertcore.detection.names import COCO, coco_class
from pertcore.errors import InputError

SHAPE = (8, 4, 5)  # three classes, four rows, five columns


@dataclass(frozen=True)
class Part:
    """An output's place in the stacked one, as the ONNX oracle describes it."""

    place: slice
    shape: tuple[int, ...]
    scale: float = 1.0

    def read(self, flat: Any) -> Any:
        return flat[:, self.place].reshape(len(flat), *self.shape) / self.scale


def outputs(n=3, seed=0):
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(n, *SHAPE))
    f[:, 0] = rng.uniform(0.05, 0.95, f[:, 0].shape)
    likely = np.exp(f[:, 5:])
    f[:, 5:] = likely / likely.sum(axis=1, keepdims=True)
    return f.reshape(n, -1)


def test_the_box_of_every_cell():
    head, f = GridHead(SHAPE), outputs()
    cells, boxes = f.reshape(3, *SHAPE), head.boxes(f)
    for row in range(4):
        for column in range(5):
            t = cells[1, 1:5, row, column]
            x, y = (math.tanh(t[0]) + column) / 5, (math.tanh(t[1]) + row) / 4
            w, h = 1 / (1 + math.exp(-t[2])), 1 / (1 + math.exp(-t[3]))
            wanted = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            np.testing.assert_allclose(boxes[1, row * 5 + column], wanted)


def test_scores_and_classes_of_every_cell():
    head, f = GridHead(SHAPE, powers=(1, 1)), outputs()
    cells = f.reshape(3, 8, 20)
    found = head.scored(f)
    np.testing.assert_allclose(found.scores, cells[:, 0] * cells[:, 5:].max(axis=1))
    np.testing.assert_array_equal(found.classes, cells[:, 5:].argmax(axis=1))
    given = np.full((3, 20), 2)
    np.testing.assert_allclose(head.scored(f, given).scores, cells[:, 0] * cells[:, 7])
    default = GridHead(SHAPE).scored(f).scores
    np.testing.assert_allclose(default, cells[:, 0] ** 0.6 * cells[:, 5:].max(axis=1) ** 0.4)


def test_detections_are_the_confident_ones():
    head, f = GridHead(SHAPE), outputs()
    everything = head.detections(f, score=0.0, overlap=1.0)
    assert [len(found) for found in everything] == [20, 20, 20]
    confident = head.detections(f.reshape(3, *SHAPE), score=0.6)
    for found, every in zip(confident, everything, strict=True):
        assert np.all(found.scores >= 0.6) and np.all(np.diff(found.scores) <= 0)
        assert 0 < len(found) <= np.count_nonzero(every.scores >= 0.6)


def test_targets_lie_in_the_cell_of_the_centre():
    head = GridHead(SHAPE)
    boxes = [np.array([[0.1, 0.3, 0.3, 0.5]]), np.zeros((0, 4)), np.array([[0.9, 0.9, 1.0, 1.0]])]
    found = head.targets(boxes, [[2], [], [0]]).reshape(3, *SHAPE)
    np.testing.assert_allclose(found[0, :, 1, 1], [1, 0.2, 0.4, 0.2, 0.2, 0, 0, 1])
    np.testing.assert_allclose(found[2, :, 3, 4], [1, 0.95, 0.95, 0.1, 0.1, 1, 0, 0])
    assert np.count_nonzero(found[:, 0]) == 2 and not found[1].any()
    with pytest.raises(InputError, match="classes 0 to 2"):
        head.targets([np.ones((1, 4))], [[3]])


def anchors():
    rng = np.random.default_rng(3)
    scores = rng.uniform(size=(2, 6, 2))
    corner = rng.uniform(0, 0.5, (2, 6, 2))
    boxes = np.concatenate([corner, corner + 0.3], axis=2)
    stacked = np.hstack([2 * scores.reshape(2, -1), boxes.reshape(2, -1)])
    parts = {"scores": Part(slice(0, 12), (6, 2), 2.0), "boxes": Part(slice(12, 36), (6, 4))}
    return AnchorHead(parts), stacked, scores, boxes


def test_anchors_leave_the_background_out():
    head, stacked, scores, boxes = anchors()
    found = head.scored(stacked)
    np.testing.assert_allclose(found.scores, scores[:, :, 1])
    assert not found.classes.any()
    best = head.detections(stacked, score=0.0)[1]
    top = np.argmax(scores[1, :, 1])
    np.testing.assert_allclose(best.boxes[0], boxes[1, top])


def test_outputs_that_are_not_the_head_s_are_refused():
    head, stacked, _, _ = anchors()
    turned = dict(reversed(head.outputs.items()))
    with pytest.raises(InputError, match="then box values"):
        AnchorHead(turned)
    with pytest.raises(InputError, match="5 anchors"):
        AnchorHead(head.outputs, np.ones((5, 4)))
    with pytest.raises(InputError, match=r"reads cells \(85, 22, 22\)"):
        GridHead().detections(stacked)


def test_anchors_move_and_stretch():
    head, stacked, _, _ = anchors()
    around = np.tile([[0.5, 0.4, 0.2, 0.1]], (6, 1))
    stacked[0, 12:16] = [1, -1, 5, 0]
    found = AnchorHead(head.outputs, around).detections(stacked, score=0.0, overlap=1.0)[0]
    w, h = 0.2 * math.e, 0.1
    wanted = [0.52 - w / 2, 0.39 - h / 2, 0.52 + w / 2, 0.39 + h / 2]
    assert np.isclose(found.boxes, wanted).all(axis=1).sum() == 1


def test_the_anchors_of_ultraface():
    found = ultraface_anchors()
    assert found.shape == (4420, 4)
    np.testing.assert_allclose(found[0], [0.5 / 40, 0.5 / 30, 10 / 320, 10 / 240])
    np.testing.assert_allclose(found[1, 2:], [16 / 320, 16 / 240])
    np.testing.assert_allclose(found[3, :2], [1.5 / 40, 0.5 / 30])
    np.testing.assert_allclose(found[-1], [0.9, 224 / 240, 256 / 320, 1])


def test_scores_pull_back_to_the_output():
    head, stacked, _, _ = anchors()
    grid, f = GridHead(SHAPE), outputs()
    for reader, at in ((head, stacked), (grid, f)):
        clean = reader.scored(at)
        rng = np.random.default_rng(5)
        weights, step = rng.normal(size=clean.scores.shape), rng.normal(size=at.shape) * 1e-6
        ahead, behind = (reader.scored(at + s * step, clean.classes).scores for s in (1, -1))
        slope = np.sum(weights * (ahead - behind), axis=1) / 2
        np.testing.assert_allclose(np.sum(clean.pullback(weights) * step, axis=1), slope, rtol=1e-6)


def test_the_logistic_function_does_not_overflow():
    np.testing.assert_allclose(logistic(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])


def test_names_of_voc_are_classes_of_coco():
    assert len(COCO) == 80 and COCO[coco_class("tvmonitor")] == "tv"
    assert coco_class("person") == 0 and coco_class("toothbrush") == 79
    with pytest.raises(InputError, match="'unicorn'"):
        coco_class("unicorn")
