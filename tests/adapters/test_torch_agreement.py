"""The same weights give the same gradients and the same attacks, whatever framework holds them."""

from functools import cache

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks import ATTACKS
from pertcore.errors import InputError
from tests.adapters.same_weights import perceptron, samples

SAMPLES = 100
others = pytest.mark.parametrize("framework", ["torch", "jax", "numpy"])
TASKS = [(name, "regression") for name in ATTACKS]
TASKS += [(name, "classification") for name, row in ATTACKS.items() if not row.regression]
# A search without gradients keeps what lowers the loss by however little: the last bit decides.
AT_P_2 = [name for name, row in ATTACKS.items() if not row.subset and not row.blind]
pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")


def relative(a, b):
    return np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)


@others
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_gradients_and_tangents(framework, activation):
    x, _ = samples(SAMPLES)
    rng = np.random.default_rng(1)
    v = rng.standard_normal((3, SAMPLES, 5)).astype(np.float32)
    u = rng.standard_normal((3, SAMPLES, 20)).astype(np.float32)
    lin, file = (perceptron(f, activation).linearize(x) for f in (framework, "onnx"))
    assert relative(lin.value, file.value).max() <= 1e-4
    assert relative(lin.vjp(v), file.vjp(v)).max() <= 1e-4
    assert relative(lin.jvp(u), file.jvp(u)).max() <= 1e-4


def call(name, task, order):
    row = ATTACKS[name]
    settings = {"attack": name, "task": task, "bounds": (0, 1), "rng": 3}
    if row.subset:
        return {**settings, "norm": "inf", "eps": 0.2, "partition": "pixels"}
    eps = {2: 0.3, "inf": 0.08, 0: None}[order]
    return {**settings, "norm": order, "eps": None if row.minimum_norm else eps}


@cache
def attacked(framework, activation, name, task, order):
    """None where the attack is not for that task, which no framework changes."""
    x, targets = samples(SAMPLES)
    y = None if task == "classification" else targets
    try:
        return pc.attack(perceptron(framework, activation), x, y, **call(name, task, order))
    except InputError as error:
        if "is for classifiers" in str(error):
            return None
        raise


def agreeing(r, file, task):
    """(n,) bool: the same success, and the margin (or the loss) or the norm within 1e-3."""
    ours, theirs = (
        (a.margin if task == "classification" else a.loss_after).astype(np.float64)
        for a in (r, file)
    )
    judged = np.abs(ours - theirs) <= 1e-3 * np.maximum(1, np.abs(theirs))
    if ATTACKS[file.settings["attack"]].minimum_norm:
        judged = np.abs(r.norms - file.norms) <= 1e-3 * file.norms
    return (r.success == file.success) & judged


@others
@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_attack_finds_the_same(framework, name, task):
    file = attacked("onnx", "relu", name, task, "inf")
    found = attacked(framework, "relu", name, task, "inf")
    if file is None:
        assert found is None
        return
    assert np.mean(agreeing(found, file, task)) >= 0.99


@others
@pytest.mark.parametrize("name", [name for name, row in ATTACKS.items() if row.counts])
def test_the_same_number_of_features_changes(framework, name):
    file, found = (attacked(f, "relu", name, "classification", 0) for f in ("onnx", framework))
    assert np.mean(agreeing(found, file, "classification")) >= 0.99


@others
@pytest.mark.parametrize("name", AT_P_2)
def test_smooth_networks_are_attacked_alike_entry_by_entry(framework, name):
    task = "regression" if ATTACKS[name].regression else "classification"
    file, found = (attacked(f, "tanh", name, task, 2) for f in ("onnx", framework))
    moved = np.abs(file.delta).max()
    assert moved > 1e-2
    assert np.abs(found.x_adv - file.x_adv).max() <= 1e-3 * moved


def test_other_weights_are_noticed():
    """The checks above can fail: another network agrees in neither way."""
    x, _ = samples(SAMPLES)
    weights = [np.ones((32, 20)), np.eye(5, 32)]
    other = pc.from_network(weights, [np.zeros(32), np.zeros(5)])
    settings = call("pgd", "classification", "inf")
    y = np.argmax(perceptron("numpy", "relu")(x), axis=1)
    r = pc.attack(other, x, y, **settings)
    file = attacked("onnx", "relu", "pgd", "classification", "inf")
    assert np.mean(agreeing(r, file, "classification")) < 0.9
