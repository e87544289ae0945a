"""Points that are stored as pictures: on the levels, inside ball and box, and still adversarial."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pertcore as pc
from pertcore.closed_form.norms import row_norms
from pertcore.demo import CLASSIFIER, DATA
from pertcore.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.errors.PertcoreWarning")


@pytest.fixture(scope="module")
def digits():
    with np.load(DATA) as held:
        x, y = held["x"][:200].astype(np.float32), held["y"][:200]
    # the bundled digits hold 17 values: put on 256, as a picture would
    return pc.from_onnx(CLASSIFIER), np.rint(x * 255).astype(np.float32) / np.float32(255), y


@pytest.mark.parametrize("norm", ["inf", "2", "1", "3"])
@pytest.mark.parametrize("attack", ["pgd", "alg1"])
def test_on_levels_inside_and_judged_as_stored(digits, attack, norm) -> None:
    model, x, y = digits
    eps = {"inf": 20.01 / 255, "2": 0.5, "1": 3.0, "3": 0.3}[norm]
    r = pc.attack(model, x, y, attack=attack, norm=norm, eps=eps, bounds=(0, 1), levels=256)
    codes = np.rint(r.x_adv.astype(np.float64) * 255).astype(np.uint8)
    back = codes.astype(np.float32) / np.float32(255)
    assert np.abs(back - r.x_adv).max() <= np.spacing(np.float32(1))
    delta = (r.x_adv.astype(np.float64) - x).reshape(len(x), -1)
    assert np.all(row_norms(delta, float(norm)) <= eps)
    wrong = model(r.x_adv).argmax(axis=1) != y
    assert np.array_equal(wrong & r.attackable, r.success)
    assert r.success.any()
    plain = pc.attack(model, x, y, attack=attack, norm=norm, eps=eps, bounds=(0, 1))
    assert r.success.sum() >= 0.9 * plain.success.sum()


def test_more_stay_adversarial_than_by_plain_rounding(digits) -> None:
    model, x, y = digits
    x = np.rint(x * 16) / np.float32(16)
    given = {"attack": "deepfool", "norm": 2, "bounds": (0, 1)}
    plain, kept = (pc.attack(model, x, y, **given, **more) for more in ({}, {"levels": 17}))
    rounded = np.rint(plain.x_adv * 16) / np.float32(16)
    survived = (model(rounded).argmax(axis=1) != y) & plain.success
    assert survived.sum() < 0.6 * plain.success.sum()
    assert kept.success.sum() >= 0.99 * plain.success.sum()


def test_nearest_allowed_level_equals_brute_force() -> None:
    """A linear regression that gains from every entry: no rounding may leave something over."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 1))
    model = pc.from_function(
        lambda x: x @ w, vjp=lambda x, v: v @ w.T, jvp=lambda x, u: u @ w,
        input_shape=(4,), output_shape=(1,), dtype=np.float64,
    )  # fmt: skip
    x = rng.integers(0, 5, (30, 4)) / 4.0
    r = pc.attack(model, x, x @ w + 1.0, attack="linear", eps=0.6, bounds=(0, 1), levels=5)
    shifts = np.array(list(itertools.product([-2, -1, 0, 1, 2], repeat=4))) / 4
    for k in range(len(x)):
        tried = x[k] + shifts[np.abs(shifts).max(axis=1) <= 0.6]
        tried = tried[((tried >= 0) & (tried <= 1)).all(axis=1)]
        losses = ((tried - x[k]) @ w - 1.0) ** 2
        assert np.isclose(r.loss_after[k], losses.max())


def test_frozen_entries_and_two_levels(digits) -> None:
    model, x, y = digits
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4] = True
    r = pc.attack(model, x, y, eps=0.3, bounds=(0, 1), levels=256, mask=mask)
    assert np.array_equal(r.x_adv[:, 0, 4:], x[:, 0, 4:]) and r.success.any()
    ink = (x > 0.5).astype(np.float32)
    r = pc.attack(model, ink, attack="pgd", eps=1, bounds=(0, 1), levels=2)
    assert set(np.unique(r.x_adv)) <= {0.0, 1.0} and r.success.any()


def test_what_cannot_be_on_levels_is_refused(digits) -> None:
    model, x, y = digits
    for levels, bounds, x0, said in (
        (256, None, x, "needs bounds"),
        (1, (0, 1), x, "levels=1"),
        (256, (0, 1), x + np.float32(1e-3) * (x < 0.5), r"levels=256: sample \d+ has a value"),
        (256, (np.zeros((1, 8, 8)), np.ones((1, 8, 8))), x, "needs bounds"),
    ):
        with pytest.raises(InputError, match=said):
            pc.attack(model, x0, y, eps=0.1, bounds=bounds, levels=levels)
