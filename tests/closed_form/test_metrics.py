"""MSE and PSNR from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pertcore.closed_form import metrics


def test_mse_is_the_mean_over_all_entries_of_a_sample():
    f = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    y = np.zeros((2, 12), dtype=np.float32)
    wanted = [np.mean(np.arange(12.0) ** 2), np.mean(np.arange(12.0, 24) ** 2)]
    np.testing.assert_allclose(metrics.mse(f, y), wanted, rtol=1e-15)


def test_psnr_of_known_errors():
    error = np.array([1.0, 0.01, 100.0, 0.0])
    np.testing.assert_allclose(metrics.psnr(error), [0, 20, -20, math.inf])
    np.testing.assert_allclose(
        metrics.psnr(error, peak=255), metrics.psnr(error) + 20 * math.log10(255)
    )
    assert np.isnan(metrics.psnr(np.array([math.nan]))).all()


def test_a_shift_of_eps_everywhere_has_the_bound_of_the_paper():
    eps = 0.05
    f = np.full((3, 7), 0.5)
    found = metrics.psnr(metrics.mse(f, f + eps))
    np.testing.assert_allclose(found, 10 * math.log10(1 / eps**2))


def test_the_order_of_samples_is_kept():
    f = np.random.default_rng(0).normal(size=(5, 3))
    found = metrics.measured({"first": lambda f, y: f[:, 0]}, f, f)
    np.testing.assert_array_equal(found["first"], f[:, 0])
    with pytest.raises(metrics.InputError, match="first"):
        metrics.measured({"first": lambda f, y: f[:2, 0]}, f, f)
