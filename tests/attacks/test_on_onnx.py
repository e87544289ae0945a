"""The main path: every attack on the bundled ONNX classifier, judged by ONNX Runtime alone."""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnxruntime
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.demo import AUTOENCODER, CLASSIFIER, digits
from pertcore.errors import PertcoreWarning
from pertcore.testing import assert_in_ball

N = 40


@pytest.fixture(scope="module")
def model():
    return pc.from_onnx(CLASSIFIER, threads=1)


@pytest.fixture(scope="module")
def data():
    x, y = digits()
    return x[:N], y[:N]


def scores(file, x):
    session = onnxruntime.InferenceSession(str(file))
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_claims_hold_on_the_file_itself(name, model, data):
    x, y = data
    result = ATTACKS[name](model, x, y, eps=0.15, bounds=(0, 1))
    assert_in_ball(x, result.x_adv, norm=math.inf, eps=0.15, bounds=(0, 1))
    right = scores(CLASSIFIER, x).argmax(axis=1) == y
    changed = scores(CLASSIFIER, result.x_adv).argmax(axis=1) != y
    assert np.array_equal(result.success, right & changed)
    assert np.array_equal(result.attackable, right)


@pytest.mark.parametrize("name", ["alg1", "pgd", "deepfool", "random"])
def test_deterministic_means_the_same_bits_end_to_end(name, model, data):
    x, y = data
    settings = {"eps": 0.15, "bounds": (0, 1), "rng": 3, "deterministic": True}
    first, again = (ATTACKS[name](model, x, y, **settings) for _ in range(2))
    assert np.array_equal(first.x_adv, again.x_adv)
    assert np.array_equal(first.margin, again.margin)


@pytest.mark.parametrize("norm", [1, 1.5, 2, 3, "linf"])
def test_algorithm_1_beats_chance_in_every_norm(norm, model, data):
    x, y = data
    eps = {1: 4, 1.5: 1.5, 2: 0.8, 3: 0.5, "linf": 0.12}[norm]
    chance, found = (
        ATTACKS[name](model, x, y, norm=norm, eps=eps, bounds=(0, 1)) for name in ("random", "alg1")
    )
    assert found.fooling_ratio > chance.fooling_ratio + 0.2


def test_an_autoencoder_is_attacked_without_labels(data):
    x, _ = data
    shape = pc.from_onnx(AUTOENCODER).input_shape
    model = pc.from_onnx(AUTOENCODER)
    flat = x.reshape(N, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        found = pc.attack(model, flat, eps=0.1, bounds=(0, 1))
        chance = pc.attack(model, flat, attack="random", eps=0.1, bounds=(0, 1))
    assert found.task == "regression" and found.success.all()
    assert found.loss_after.mean() > 2 * chance.loss_after.mean()
