"""Reorthogonalisation against its definition: nothing left of the basis, nothing else lost."""

from __future__ import annotations

import numpy as np
import pytest

from pertcore.closed_form.krylov import reorthogonalise


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


def bases(rng, n, most, d, dtype):
    basis = np.zeros((n, most, d), dtype)
    for k in range(n):
        basis[k] = np.linalg.qr(rng.normal(size=(d, most)))[0].T
    return basis


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("d", "most"), [(9, 1), (40, 7), (5000, 12)])
def test_the_rest_is_orthogonal_and_the_sum_is_the_vector(d, most, dtype):
    rng = np.random.default_rng(d)
    basis = bases(rng, 4, most, d, dtype)
    counts = np.array([0, 1, most // 2, most])
    w = (rng.normal(size=(4, d)) + 1e4 * basis.sum(axis=1)).astype(dtype)
    w.flags.writeable = basis.flags.writeable = False
    rest = reorthogonalise(basis, counts, w)
    unit = np.finfo(dtype).eps
    for k in range(4):
        used = basis[k, : counts[k]].astype(np.float64)
        inside = used @ rest[k].astype(np.float64)
        assert np.all(np.abs(inside) <= 30 * unit * np.linalg.norm(rest[k]))
        wanted = w[k] - (used @ w[k].astype(np.float64)) @ used
        np.testing.assert_allclose(rest[k], wanted, atol=4 * unit * np.abs(w[k]).max() * most)
    assert np.array_equal(rest[0], w[0])


def test_a_sample_does_not_see_its_batch_and_the_result_can_be_given():
    rng = np.random.default_rng(1)
    basis, w = bases(rng, 3, 5, 33, np.float32), rng.normal(size=(3, 33)).astype(np.float32)
    out = np.empty_like(w)
    assert reorthogonalise(basis, 4, w, out=out) is out
    for k in range(3):
        assert np.array_equal(reorthogonalise(basis[k : k + 1], 4, w[k : k + 1])[0], out[k])
