"""Batches of a stream join to what one call over all samples gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pertcore
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.stream import ROWS, attacked_batches, joined, without_points

SETTINGS = {"attack": "pgd", "eps": 0.3, "bounds": (0, 1), "rng": 3, "steps": 4}


@pytest.fixture
def problem() -> tuple[pertcore.oracle.Oracle, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    oracle = pertcore.from_matrix(rng.normal(size=(4, 6)), rng.normal(size=4))
    x = rng.random((11, 6))
    return oracle, x, oracle(x).argmax(1)


def test_batches_join_to_one_run(problem) -> None:  # type: ignore[no-untyped-def]
    oracle, x, y = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        whole = pertcore.attack(oracle, x, y, **SETTINGS)
    batches = list(attacked_batches(oracle, x, y, batch_size=4, callback=None, settings=SETTINGS))
    assert [b.start for b in batches] == [0, 4, 8] and len(batches[-1].x) == 3
    result = joined([without_points(b.result) for b in batches])
    for name in ROWS:
        np.testing.assert_allclose(getattr(result, name), getattr(whole, name), rtol=1e-12)
    np.testing.assert_allclose(
        np.concatenate([b.result.x_adv for b in batches]), whole.x_adv, rtol=1e-12
    )
    assert result.x_adv is None and result.summary()["samples"] == 11
    assert result.calls.vjp == sum(b.result.calls.vjp for b in batches) > 0


def test_callback_and_wrong_size(problem) -> None:  # type: ignore[no-untyped-def]
    oracle, x, y = problem
    seen: list[object] = []
    list(attacked_batches(oracle, x, y, batch_size=6, callback=seen.append, settings=SETTINGS))
    assert seen
    with pytest.raises(InputError, match="batch_size=0"):
        next(attacked_batches(oracle, x, y, batch_size=0, callback=None, settings=SETTINGS))


def test_zero_gradients_are_counted_over_all_batches() -> None:
    oracle = pertcore.from_function(
        lambda x: np.sign(x) * np.array([[1.0, 2.0]]),
        lambda x, c: np.zeros_like(x),
        lambda x, t: np.zeros_like(x),
        input_shape=2,
        output_shape=2,
        dtype=np.float64,
    )
    x = np.array([[0.5, 0.5], [0.2, 0.4], [0.5, -0.5], [0.3, -0.3], [0.6, 0.6]])
    settings = {"attack": "alg1", "eps": 0.01, "bounds": (-1, 1)}
    batches = attacked_batches(oracle, x, None, batch_size=3, callback=None, settings=settings)
    texts = [t for t in joined([b.result for b in batches]).warnings if "exactly zero" in t]
    assert len(texts) == 1 and "5 of 5" in texts[0]
