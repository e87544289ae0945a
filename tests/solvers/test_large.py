"""A million inputs, where J would take four terabytes: sigma_max is known and found."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from onnx import helper

import pertcore as pc
from pertcore.errors import InputError
from pertcore.oracle import Oracle
from pertcore.solvers import columns
from pertcore.solvers.products import Products
from tests.adapters.onnx.models import model, value, weight

TALL, WIDE = 680, 480
SIDE, MIDDLE = 0.3, 0.5


def blur() -> Oracle:
    """Every channel blurred by [a b a] along both sides of an image padded with zeros."""
    row = np.array([SIDE, MIDDLE, SIDE], np.float32)
    kernel = np.broadcast_to(np.outer(row, row), (3, 1, 3, 3))
    node = helper.make_node("Conv", ["x", "k"], ["y"], pads=[1, 1, 1, 1], group=3)
    shape = ["N", 3, TALL, WIDE]
    graph = model([node], [value("x", shape)], [value("y", shape)], [weight("k", kernel)])
    return pc.from_onnx(graph)


def largest() -> float:
    """b + 2 a cos(pi / (m + 1)) is the largest eigenvalue of a tridiagonal matrix of order m."""
    return float(np.prod([MIDDLE + 2 * SIDE * np.cos(np.pi / (size + 1)) for size in (TALL, WIDE)]))


def test_the_largest_singular_value_at_680_by_480_by_3() -> None:
    oracle = blur()
    x = np.zeros((3, TALL, WIDE), np.float32)
    tracemalloc.start()
    found = pc.spectral_norm(oracle, x, min_pairs=20, max_pairs=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.value <= largest() * (1 + 1e-6) and largest() <= found.upper
    assert found.value >= 0.98 * largest()
    assert oracle.calls.jvp == oracle.calls.vjp == found.pairs == 20
    # twenty directions on either side, and a few more vectors
    assert peak < 64 * 4 * 3 * TALL * WIDE
    image = oracle.linearize(x[None]).jvp(found.vector[None])
    np.testing.assert_allclose(np.linalg.norm(image.astype(np.float64)), found.value, rtol=1e-4)


def test_all_columns_of_a_million_by_combs_and_never_as_a_matrix() -> None:
    oracle = blur()
    x = np.zeros((1, 3, TALL, WIDE), np.float32)
    found = pc.operator_norm(oracle, x[0], 1)
    # the columns of all inner entries are the kernel
    assert found.value == pytest.approx(MIDDLE**2 + 2 * SIDE**2, rel=1e-5)
    assert "combs" in found.method and oracle.calls.jvp <= 9 + 8 + 3
    with pytest.raises(InputError, match=r"3\.84 TB"):
        columns.explicit(Products.at(oracle, oracle.linearize(x)))
