"""The projection of every order reaches the distance of its NumPy definition, near and far."""

from __future__ import annotations

import numpy as np
import pytest

from pertcore.closed_form.norms import row_norms
from pertcore.closed_form.projections import project_ball


@pytest.mark.parametrize("norm", [1.01, 1.05, 1.5, 3.0, 7.3, 20.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_farther_from_the_point_than_the_definition(norm, dtype, monkeypatch):
    rng = np.random.default_rng(int(100 * norm))
    z = (rng.standard_normal((24, 60)) ** 3).astype(dtype)
    share = 10.0 ** rng.uniform(-6, -0.05, len(z))
    eps = share * row_norms(z, norm)
    found = {}
    for backend in ("numba", "numpy"):
        monkeypatch.setenv("PERTCORE_BACKEND", backend)
        found[backend] = project_ball(z, eps, norm).astype(np.float64)
    distance = {k: np.linalg.norm(v - z, axis=1) for k, v in found.items()}
    loose = 1e-5 if dtype is np.float32 else 1e-7
    assert np.all(distance["numba"] <= distance["numpy"] * (1 + loose) + loose * eps)
    assert np.all(row_norms(found["numba"], norm) <= eps)
    assert np.all(row_norms(found["numba"], norm) >= eps * (1 - 1e-4))
