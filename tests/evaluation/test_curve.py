"""Curves over budgets: exact on linear models, equal to separate attacks on others."""

import math
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.feasibility import LinearEstimate
from pertcore.constraints import dual_order
from pertcore.demo import CLASSIFIER, digits
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.search import HALVING, search
from pertcore.result import Status

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 8)), RNG.normal(size=2)
X = RNG.normal(size=(40, 8))
GRID = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, "3/2"]
BUDGETS = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5])

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")


def linear():
    return pc.from_matrix(A, B)


def smallest(norm):
    """The exact answer on two linear classes: the distance to their hyperplane."""
    scores = linear()(X)
    slope = np.linalg.norm(A[0] - A[1], dual_order(norm))
    return np.abs(scores[:, 0] - scores[:, 1]) / slope


@pytest.mark.parametrize("norm", [1, 2, 3, math.inf])
def test_on_a_linear_model_it_is_exact(norm):
    c = pc.curve(linear(), X, eps=GRID, norm=norm)
    exact = smallest(norm)
    np.testing.assert_array_equal(c.fooled, exact < BUDGETS[:, None])
    np.testing.assert_allclose(c.robust_accuracy, np.mean(exact >= BUDGETS[:, None], axis=1))
    np.testing.assert_array_equal(c.fooling_ratio, c.fooled.mean(axis=1))
    assert np.all(c.in_vain <= exact) and np.all(c.in_vain <= BUDGETS[-1])


def test_every_sample_is_between_neighbours_of_the_grid():
    c = pc.curve(linear(), X, eps=GRID, norm=2)
    place = np.searchsorted(BUDGETS, c.in_vain)
    fooled = np.isfinite(c.norms)
    assert fooled.any() and not fooled.all()
    np.testing.assert_array_equal(np.searchsorted(BUDGETS, c.norms[fooled]), place[fooled] + 1)
    assert np.all(c.in_vain[~fooled] == BUDGETS[-1])


def test_what_it_returns_is_verified():
    model = linear()
    c = pc.curve(model, X, eps=GRID, norm=2)
    fooled = np.isfinite(c.norms)
    moved = np.linalg.norm(c.x_adv.astype(np.float64) - X, axis=1)
    np.testing.assert_allclose(moved[fooled], c.norms[fooled], rtol=1e-12)
    assert not moved[~fooled].any()
    changed = model(c.x_adv).argmax(axis=1) != model(X).argmax(axis=1)
    np.testing.assert_array_equal(changed, fooled)


@pytest.mark.parametrize("attack", ["alg1", "pgd", "apgd"])
def test_it_is_what_separate_attacks_give_or_less(attack):
    x, y = (part[:60] for part in digits())
    model, eps = pc.from_onnx(CLASSIFIER, threads=1), [0.02, 0.05, 0.08, 0.12]
    options = {"attack": attack, "bounds": (0, 1), "steps": 8}
    c = pc.curve(model, x, y, eps=eps, **options)
    separate = [pc.attack(model, x, y, eps=e, **options).robust_accuracy for e in eps]
    assert np.all(c.robust_accuracy <= np.array(separate) + 1 / len(x))
    assert np.all(np.diff(c.robust_accuracy) <= 0) and c.robust_accuracy[-1] < 0.9


def test_it_costs_a_few_attacks_whatever_the_number_of_budgets():
    x, y = (part[:60] for part in digits())
    model = pc.from_onnx(CLASSIFIER, threads=1)
    one = pc.attack(model, x, y, eps=0.06, bounds=(0, 1)).calls
    c = pc.curve(model, x, y, eps=np.linspace(0.005, 0.15, 30), bounds=(0, 1))
    assert c.calls.f + c.calls.vjp < 5 * (one.f + one.vjp)


def test_a_sample_does_not_depend_on_its_neighbours():
    """Random numbers belong to a sample, so that taking it alone changes nothing."""
    x, y = (part[:20] for part in digits())
    model = pc.from_onnx(CLASSIFIER, threads=1)
    options = {"eps": [0.05, 0.1], "attack": "square", "bounds": (0, 1), "deterministic": True}
    whole, head = pc.curve(model, x, y, **options), pc.curve(model, x[:7], y[:7], **options)
    np.testing.assert_array_equal(head.norms, whole.norms[:7])


def test_every_round_knows_the_places_of_its_samples():
    """Whoever is attacked again has the random numbers that a run over everybody gives him."""
    x, y = (part[:20] for part in digits())
    model, grid = pc.from_onnx(CLASSIFIER, threads=1), np.linspace(0.1, 2, 12)
    options = {"attack": "pgd", "norm": 2, "bounds": (0, 1), "deterministic": True, "rng": 7}
    c = pc.curve(model, x, y, eps=grid, **options)
    seen = {eps: pc.attack(model, x, y, eps=eps, **options) for eps in grid}
    for i in np.flatnonzero(np.isfinite(c.norms) & c.attackable):
        assert any(np.array_equal(c.x_adv[i], r.x_adv[i]) for r in seen.values())


def test_a_deterministic_run_counts_what_it_costs_and_says_so():
    x, y = (part[:20] for part in digits())
    options = {"eps": [0.05, 0.1], "bounds": (0, 1), "deterministic": True}
    model = pc.from_onnx(CLASSIFIER, threads=1)
    c = pc.curve(model, x, y, **options)
    # The estimate at x alone is a run and a pull-back of each, an attack at least as much again.
    assert c.calls.f >= 3 * 20 and c.calls.vjp >= 2 * 20
    assert c.settings["deterministic"]
    r = pc.robustness(model, x, y, bounds=(0, 1), attack="alg1", deterministic=True)
    assert r.calls.f >= 3 * 20 and r.settings["deterministic"]


def test_wrong_from_the_start_counts_against_it_at_every_budget():
    y = linear()(X).argmax(axis=1)
    y[:4] = 1 - y[:4]
    c = pc.curve(linear(), X, y, eps=[0, 0.01], norm=2)
    assert not c.attackable[:4].any() and c.attackable[4:].all()
    assert c.robust_accuracy[0] == 36 / 40 and c.fooling_ratio[0] == 0
    np.testing.assert_array_equal(c.norms[:4], 0)


def test_a_minimum_norm_attack_runs_once():
    c = pc.curve(linear(), X, eps=GRID, norm=2, attack="deepfool")
    assert c.rounds == 1
    np.testing.assert_allclose(c.norms, smallest(2), rtol=0.03)


def test_masks_and_labels_of_a_sample_go_with_it():
    mask = RNG.random(X.shape) < 0.6
    c = pc.curve(linear(), X, eps=GRID, norm=math.inf, mask=mask)
    assert np.all((c.x_adv == X) | mask)
    reach = np.sum(np.abs(A[0] - A[1]) * mask, axis=1)
    scores = linear()(X)
    exact = np.abs(scores[:, 0] - scores[:, 1]) / reach
    np.testing.assert_array_equal(c.fooled, exact < BUDGETS[:, None])


def test_only_zero_is_no_attack():
    c = pc.curve(linear(), X, eps=[0], norm=2)
    assert c.robust_accuracy == [1.0]


def test_the_band_holds_the_share_and_narrows():
    few = pc.curve(linear(), X[:10], eps=GRID, norm=2)
    many = pc.curve(linear(), np.tile(X[:10], (10, 1)), eps=GRID, norm=2)
    for c in (few, many):
        low, high = c.band()
        assert np.all((low >= 0) & (low <= c.robust_accuracy))
        assert np.all((c.robust_accuracy <= high) & (high <= 1))
    assert np.all(np.diff(many.band(), axis=0) < np.diff(few.band(), axis=0))
    # Wilson's interval of 5 in 10, worked out by hand: (0.5 +- 0.3009...) recentred.
    half = np.flatnonzero(few.robust_accuracy == 0.5)
    for place in half:
        np.testing.assert_allclose([e[place] for e in few.band()], [0.23659, 0.76341], atol=1e-5)


def test_it_prints_as_a_table():
    text = str(pc.curve(linear(), X, eps=[0.1, 0.2], norm=2))
    assert "robust accuracy" in text and "units a sample" in text


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"eps": 0.1}, "several budgets"),
        ({"eps": []}, "several budgets"),
        ({"eps": [0.1, -1]}, "eps=-1"),
        ({"eps": [0.1, math.nan]}, "eps=nan"),
        ({"eps": [0.1], "first_index": 3}, "first_index"),
        ({"eps": [0.1], "stepz": 3}, "stepz"),
        ({"eps": [0.1], "rng": -1}, "rng"),
    ],
)
def test_wrong_calls_are_refused_before_the_model_runs(wrong, named):
    model = linear()
    with pytest.raises(InputError, match=named):
        pc.curve(model, X, **wrong)
    assert model.calls.f == 0


@pytest.mark.filterwarnings("error")
def test_doubts_are_kept_in_the_curve_not_shouted_at_every_round():
    images = pc.from_matrix(A, B, input_shape=(1, 2, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PertcoreWarning)
        c = pc.curve(images, X.reshape(-1, 1, 2, 4), eps=[0.1, 0.2], norm=2)
    assert any("bounds=None" in text for text in c.warnings)


def test_the_search_finds_any_threshold():
    """Whatever the margins say, all it needs is who is fooled where."""
    grid, rng = np.geomspace(0.01, 10, 40), np.random.default_rng(4)
    true = rng.choice(np.concatenate([grid, [1e-3, 20.0]]), 200)
    tries = np.zeros(200, int)

    def attempt(rows, eps):
        tries[rows] += 1
        won = eps >= true[rows]
        status = np.where(won, Status.OK, Status.MAX_STEPS).astype(np.int8)
        some = np.zeros(len(rows))
        return pc.AttackResult(
            x_adv=np.ones((len(rows), 1)), delta=None, success=won, status=status,
            norms=np.where(won, eps, 0.0), margin=rng.normal(size=len(rows)), before=some,
            after=some, loss_before=some, loss_after=some, calls=pc.Calls(), seconds=0.0,
            exact=True, task="classification",
        )  # fmt: skip

    guess = LinearEstimate(
        rng.random(200), true * rng.choice([0.1, 1, 3, np.inf], 200), np.ones(200)
    )
    found = search(grid, np.zeros((200, 1)), guess, attempt)
    np.testing.assert_array_equal(found.high, np.searchsorted(grid, true))
    np.testing.assert_array_equal(found.low, found.high - 1)
    assert tries.max() <= HALVING + 2 + math.ceil(math.log2(len(grid)))
