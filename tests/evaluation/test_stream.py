"""Batches of a stream join to what one call over all samples gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pertcore
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.records import result_columns
from pertcore.evaluation.stream import (
    ROWS,
    attacked_batches,
    joined,
    selected,
    without_points,
)
from pertcore.oracle import Oracle
from pertcore.result import Status

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


def test_left_out_samples_come_back_as_they_were(problem) -> None:  # type: ignore[no-untyped-def]
    oracle, x, y = problem
    left_out = np.arange(11) % 3 == 0
    plain, cut = (
        list(
            attacked_batches(
                oracle, x, y, batch_size=4, callback=None, settings=SETTINGS, left_out=rows
            )
        )
        for rows in (None, left_out)
    )
    before, after = (joined([b.result for b in batches]) for batches in (plain, cut))
    assert before.success[left_out].any()
    x_adv = np.concatenate([b.result.x_adv for b in cut])
    np.testing.assert_array_equal(x_adv[left_out], x[left_out])
    assert not after.success[left_out].any() and not after.norms[left_out].any()
    assert (after.status[left_out] == Status.CLEAN_ERROR).all()
    np.testing.assert_array_equal(after.after[left_out], after.before[left_out])
    np.testing.assert_array_equal(after.loss_after[left_out], after.loss_before[left_out])
    for name in ROWS:
        np.testing.assert_array_equal(
            getattr(after, name)[~left_out], getattr(before, name)[~left_out]
        )
    assert after.summary()["samples"] == 11


def test_left_out_samples_are_not_in_the_warnings() -> None:
    oracle, x = a_flat_model()
    settings = {"attack": "alg1", "eps": 0.01, "bounds": (-1, 1)}
    left_out = np.array([True, False, False, False, True])
    batches = attacked_batches(
        oracle, x, None, batch_size=3, callback=None, settings=settings, left_out=left_out
    )
    texts = [t for t in joined([b.result for b in batches]).warnings if "exactly zero" in t]
    assert len(texts) == 1 and "3 of 5" in texts[0]


def test_the_model_is_checked_in_the_first_batch_alone(problem) -> None:  # type: ignore[no-untyped-def]
    oracle, x, y = problem
    settings = {"attack": "fgsm", "eps": 0.3, "bounds": (0, 1)}
    batches = list(attacked_batches(oracle, x, y, batch_size=3, callback=None, settings=settings))
    checked, *others = [b.result.calls.f - 2 * len(b.x) for b in batches]
    assert checked > 0 and others == [0, 0, 0]


def a_flat_model() -> tuple[Oracle, np.ndarray]:
    """Steps have no slope: the gradient is zero everywhere. Five samples."""
    oracle = pertcore.from_function(
        lambda x: np.sign(x) * np.array([[1.0, 2.0]]),
        lambda x, c: np.zeros_like(x),
        lambda x, t: np.zeros_like(x),
        input_shape=2,
        output_shape=2,
        dtype=np.float64,
    )
    return oracle, np.array([[0.5, 0.5], [0.2, 0.4], [0.5, -0.5], [0.3, -0.3], [0.6, 0.6]])


def test_zero_gradients_are_counted_over_all_batches() -> None:
    oracle, x = a_flat_model()
    settings = {"attack": "alg1", "eps": 0.01, "bounds": (-1, 1)}
    batches = attacked_batches(oracle, x, None, batch_size=3, callback=None, settings=settings)
    texts = [t for t in joined([b.result for b in batches]).warnings if "exactly zero" in t]
    assert len(texts) == 1 and "5 of 5" in texts[0]


def test_certificates_follow_their_samples_through_batches() -> None:
    model = pertcore.from_matrix(np.random.default_rng(0).normal(size=(3, 5)))
    x = np.random.default_rng(1).normal(size=(7, 5))
    whole = pertcore.attack(model, x, attack="quadratic", task="regression", norm=2, eps=0.3)
    batches = [
        pertcore.attack(model, x[i : i + 3], attack="quadratic", norm=2, eps=0.3, first_index=i)
        for i in (0, 3, 6)
    ]
    together = joined(batches)
    np.testing.assert_allclose(together.certificate.value, whole.certificate.value)
    some = np.arange(7) % 2 == 0
    part = selected(together, some).certificate
    np.testing.assert_array_equal(part.upper, together.certificate.upper[some])
    assert "linear_upper" in result_columns(whole, 0)
