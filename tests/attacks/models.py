"""Small models with known answers, shared by the attack tests."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

import pertcore as pc

NORMS = (1.0, 1.5, 2.0, 3.0, math.inf)


def network(seed=0, sizes=(12, 20, 5), dtype=np.float32, activation="tanh"):
    """A random multilayer perceptron with well-spread logits."""
    rng = np.random.default_rng(seed)
    weights = [
        (rng.normal(size=(b, a)) * 2 / math.sqrt(a)).astype(dtype) for a, b in pairwise(sizes)
    ]
    biases = [(rng.normal(size=b) * 0.1).astype(dtype) for b in sizes[1:]]
    return pc.from_network(weights, biases, activation=activation, dtype=dtype)


def samples(n=24, d=12, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(dtype)


def two_classes(seed=0, d=8):
    """A linear model with logits -+(w.x + b) / 2 in float64: every answer is a closed form."""
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=d), 0.1
    return pc.from_matrix(np.stack([-w, w]) / 2, np.array([-b, b]) / 2, dtype=np.float64), w, b


def run(attack, oracle, x, y=None, **settings):
    """The attack with the options every kind of attack needs."""
    row = pc.attacks.registry.ATTACKS[attack]
    if row.regression:
        settings.setdefault("task", "classification")
    if row.minimum_norm:
        settings.setdefault("eps", None)
    elif "eps" not in settings:
        settings["eps"] = 0.3
    if row.subset:
        settings.setdefault("partition", np.arange(x[0].size).reshape(x[0].shape))
        settings["norm"] = math.inf
    return pc.attack(oracle, x, y, attack=attack, **settings)
