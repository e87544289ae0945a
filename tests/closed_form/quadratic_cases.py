"""Columns that the tests of the quadratic share, and brute force over all signs."""

from __future__ import annotations

import itertools

import numpy as np


def every_sign(d):
    """All sign vectors (2^d, d)."""
    return np.array(list(itertools.product([1.0, -1.0], repeat=d)))


def value_of(columns, signs):
    """norm_2(J s)^2 in float64 for one or many sign vectors; columns (d, K)."""
    image = np.asarray(signs, dtype=np.float64) @ np.asarray(columns, dtype=np.float64)
    return (image * image).sum(axis=-1)


def brute_force(columns):
    return value_of(columns, every_sign(len(columns))).max()


def sorts(rng, d, width):
    """Columns (d, width) by name: plain, whole numbers with zeros, tied, one, low rank, scaled."""
    plain = rng.normal(size=(d, width))
    whole = rng.integers(-2, 3, size=(d, width)).astype(np.float64)
    whole[::3] = 0
    one = np.zeros((d, width))
    one[d // 2] = rng.normal(size=width)
    return {
        "plain": plain,
        "whole": whole,
        "tied": rng.choice([-1.0, 1.0], size=(d, width)),
        "one column": one,
        "zero": np.zeros((d, width)),
        "low rank": rng.normal(size=(d, 1)) * rng.normal(size=width),
        "scaled": plain * np.exp(rng.normal(0, 3, size=(d, 1))),
    }


NAMES = tuple(sorts(np.random.default_rng(0), 3, 2))
