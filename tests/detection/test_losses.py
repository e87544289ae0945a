"""Detectors' losses: their formulas by loops, their gradients by difference quotients."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.detection import losses
from pertcore.detection.heads import GridHead

SHAPE = (8, 4, 5)
HEAD = GridHead(SHAPE)
K = math.prod(SHAPE)


def outputs(n=3, seed=0):
    rng = np.random.default_rng(seed)
    f = rng.normal(size=(n, *SHAPE))
    f[:, 0] = rng.uniform(0.1, 0.9, f[:, 0].shape)
    likely = np.exp(f[:, 5:])
    f[:, 5:] = likely / likely.sum(axis=1, keepdims=True)
    return f.reshape(n, -1)


def labelled():
    boxes = [np.array([[0.1, 0.3, 0.4, 0.6], [0.5, 0.0, 0.9, 0.4]]), np.array([[0.2, 0.2, 1, 1]])]
    return HEAD.targets([*boxes, np.zeros((0, 4))], [[0, 2], [1], []])


def own():
    return outputs(seed=7)


LOSSES = {
    "distance": (losses.distance(np.linspace(0, 2, K)), own),
    "seen": (losses.seen_distance(HEAD), own),
    "vanishing": (losses.vanishing(HEAD), own),
    "yolo": (losses.yolo(HEAD), labelled),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_cotangent_is_the_derivative(name):
    loss, targets = LOSSES[name]
    f, y = outputs(), targets()
    value, cotangent = loss(f, y)
    assert value.shape == (3,) and cotangent.shape == f.shape
    directions = np.random.default_rng(1).normal(size=(10, *f.shape))
    for u in directions:
        ahead, behind = (loss(f + s * 1e-5 * u, y)[0] for s in (1, -1))
        slope = np.sum(cotangent * u, axis=1)
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_float32_stays_float32(name):
    loss, targets = LOSSES[name]
    value, cotangent = loss(outputs().astype(np.float32), targets().astype(np.float32))
    assert cotangent.dtype == np.float32 and np.isfinite(cotangent).all()
    np.testing.assert_allclose(value, loss(outputs(), targets())[0], rtol=1e-4)


def test_yolo_is_its_formula():
    f, y = outputs(), labelled()
    value, _ = losses.yolo(HEAD, coordinates=5, empty=0.5)(f, y)
    cells, wanted = f.reshape(3, *SHAPE), y.reshape(3, *SHAPE)
    for sample in range(3):
        total = sum(
            of_cell(cells[sample, :, row, column], wanted[sample, :, row, column], row, column)
            for row in range(4)
            for column in range(5)
        )
        assert value[sample] == pytest.approx(total)


def of_cell(cell, aim, row, column):
    if aim[0] == 0:
        return 0.5 * cell[0] ** 2
    centre = ((math.tanh(cell[1]) + column) / 5, (math.tanh(cell[2]) + row) / 4)
    roots = [math.sqrt(1 / (1 + math.exp(-t))) for t in cell[3:5]]
    total = 5 * sum((a - b) ** 2 for a, b in zip(centre, aim[1:3], strict=True))
    total += 5 * sum((a - math.sqrt(b)) ** 2 for a, b in zip(roots, aim[3:5], strict=True))
    return total + (cell[0] - 1) ** 2 + np.sum((cell[5:] - aim[5:]) ** 2)


def test_a_perfect_answer_has_no_yolo_loss():
    y = labelled()
    f = y.reshape(3, *SHAPE).copy()
    full = f[:, 0] == 1
    for sample, row, column in np.argwhere(full):
        x, h = f[sample, 1, row, column] * 5 - column, f[sample, 2, row, column] * 4 - row
        sides = f[sample, 3:5, row, column]
        f[sample, 1:3, row, column] = np.arctanh([x, h])
        f[sample, 3:5, row, column] = np.log(sides / (1 - sides))
    np.testing.assert_allclose(losses.yolo(HEAD)(f.reshape(3, -1), y)[0], 0, atol=1e-20)


def test_vanishing_counts_what_was_seen_alone():
    y = own()
    value, cotangent = losses.vanishing(HEAD, score=0.6)(y, y)
    clean = HEAD.scored(y)
    seen = clean.scores >= 0.6
    assert 0 < seen.sum() < seen.size
    np.testing.assert_allclose(value, np.sum(np.where(seen, clean.scores, 0), axis=1))
    moved = cotangent.reshape(3, 8, 20).any(axis=1)
    np.testing.assert_array_equal(moved, seen)


def test_distances_vanish_at_the_own_output():
    for loss in (losses.distance(), losses.seen_distance(HEAD)):
        value, cotangent = loss(own(), own())
        assert not value.any() and not cotangent.any() and loss.goal == "maximise"


def test_every_attack_takes_them():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(K, 12)) * 0.3
    model = pc.from_matrix(matrix, outputs(1).ravel(), dtype=np.float64)
    x = rng.uniform(0.4, 0.6, (4, 12))
    for loss in (losses.seen_distance(HEAD), losses.vanishing(HEAD)):
        for attack in ("linear", "pgd"):
            result = pc.attack(model, x, attack=attack, loss=loss, eps=0.1, task="regression")
            better = result.loss_after - result.loss_before
            assert np.all(better > 0 if loss.goal == "maximise" else better < 0)
            assert result.success.all()
