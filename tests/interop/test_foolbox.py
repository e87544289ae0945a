"""pertcore's attacks as Foolbox attacks: run by Foolbox itself, beside Foolbox's own."""

from __future__ import annotations

import importlib
import math
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore import interop
from pertcore.attacks.registry import ATTACKS
from pertcore.errors import InputError
from pertcore.testing import assert_in_ball

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def fb():
    """The library; it imports SciPy by names that SciPy wants no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("foolbox", reason="Foolbox is not installed")
        return importlib.import_module("foolbox")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(12, 30), torch.nn.Tanh(), torch.nn.Linear(30, 4)
    ).eval()


@pytest.fixture(scope="module")
def fmodel(fb, net):
    return fb.PyTorchModel(net, bounds=(0, 1), preprocessing={"mean": 0.4, "std": 0.5})


@pytest.fixture(scope="module")
def clean(fmodel):
    """Images (40, 3, 2, 2) and labels, the last five of them wrong."""
    x = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    y = fmodel(x).argmax(1)
    y[-5:] = (y[-5:] + 1) % 4
    return x, y


FIXED = [n for n, row in ATTACKS.items() if not (row.minimum_norm or row.regression or row.subset)]
NEAREST = [n for n, row in ATTACKS.items() if row.minimum_norm]


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
@pytest.mark.parametrize("name", [n for n in FIXED if "quadratic" not in n])
def test_an_attack_with_a_budget(fb, fmodel, clean, name):
    x, y = clean
    attack = interop.foolbox_attack(name, norm="l2", rng=3)
    assert isinstance(attack, fb.attacks.base.FixedEpsilonAttack)
    raw, clipped, success = attack(fmodel, x, y, epsilons=[0.1, 0.4])
    for points, inside, fooled, eps in zip(raw, clipped, success, (0.1, 0.4), strict=True):
        assert isinstance(points, torch.Tensor) and torch.equal(points, inside)
        assert_in_ball(x.numpy(), inside.numpy(), norm=2, eps=eps, bounds=(0, 1))
        assert torch.equal(fooled, fmodel(inside).argmax(1) != y)
        own = pc.attack(
            interop.from_foolbox(fmodel, x), x, y, attack=name, norm=2, eps=eps, bounds=(0, 1),
            rng=3,
        )  # fmt: skip
        assert torch.equal(own.x_adv, inside)
        assert np.array_equal(fooled.numpy(), own.success | (own.status == pc.Status.CLEAN_ERROR))


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
@pytest.mark.parametrize("norm", [1.5, 2, math.inf])
@pytest.mark.parametrize("name", NEAREST)
def test_an_attack_for_the_smallest_norm(fb, fmodel, clean, name, norm):
    x, y = clean
    attack = interop.foolbox_attack(name, norm=norm)
    assert isinstance(attack, fb.attacks.base.MinimizationAttack)
    raw, clipped, success = attack(fmodel, x, y, epsilons=[None, 0.05, 0.4])
    assert success[0].all() and torch.equal(raw[0], clipped[0])
    length = np.linalg.norm((raw[0] - x).flatten(1).numpy(), norm, axis=1)
    np.testing.assert_allclose(attack.distance(x, raw[0]).numpy(), length, rtol=1e-5)
    for inside, fooled, eps in zip(clipped[1:], success[1:], (0.05, 0.4), strict=True):
        assert_in_ball(x.numpy(), inside.numpy(), norm=norm, eps=eps, bounds=(0, 1))
        assert np.all(fooled.numpy() >= (length < eps * (1 - 1e-4)))
    assert success[1].sum() < success[2].sum()


def test_as_strong_as_foolbox_in_its_own_hands(fb, fmodel, clean):
    x, y = clean
    theirs = fb.attacks.LinfPGD(steps=20)(fmodel, x, y, epsilons=0.06)[2]
    ours = interop.foolbox_attack("pgd", steps=20)(fmodel, x, y, epsilons=0.06)[2]
    assert 5 < theirs.sum() <= ours.sum() < len(x)


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
def test_changed_features_are_counted(fb, fmodel, clean):
    x, y = clean
    attack = interop.foolbox_attack("fmn", norm=0)
    (raw, one), (_, inside), success = attack(fmodel, x, y, epsilons=[None, 1])
    changed = (raw != x).flatten(1).sum(1)
    assert torch.equal(attack.distance(x, raw).long(), changed) and torch.equal(one, raw)
    assert success[0].all() and torch.all((inside != x).flatten(1).sum(1) <= 1)
    assert torch.equal(success[1], fmodel(inside).argmax(1) != y)
    theirs = fb.attacks.L0FMNAttack(steps=100)(fmodel, x, y, epsilons=None)[0]
    assert changed.float().mean() <= (theirs != x).flatten(1).sum(1).float().mean()


def test_targets_and_repetition(fb, fmodel, clean):
    x, _ = clean
    wanted = (fmodel(x).argmax(1) + 1) % 4
    criterion = fb.criteria.TargetedMisclassification(wanted)
    once = interop.foolbox_attack("random", rng=1)
    few, many = (a(fmodel, x, criterion, epsilons=0.4)[2] for a in (once, once.repeat(20)))
    assert torch.all(many >= few) and few.sum() < many.sum()
    points = once(fmodel, x, criterion, epsilons=0.4)[0]
    assert torch.equal(fmodel(points).argmax(1) == wanted, few)
    unmoved = interop.foolbox_attack("deepfool")
    assert unmoved.repeat(3) is unmoved


def test_jax_models(fb):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    w = jax.numpy.asarray(np.random.default_rng(0).normal(size=(6, 3)), jax.numpy.float32)
    fmodel = fb.JAXModel(lambda x: x @ w, bounds=(0, 1))
    x = jax.numpy.asarray(np.random.default_rng(1).random((8, 6)), jax.numpy.float32)
    y = fmodel(x).argmax(1)
    raw, clipped, success = interop.foolbox_attack("pgd")(fmodel, x, y, epsilons=0.3)
    assert isinstance(clipped, jax.Array) and bool((success == (fmodel(raw).argmax(1) != y)).all())
    assert success.any()


def test_wrong_use_is_one_clear_error(fb, fmodel, clean):
    x, y = clean
    with pytest.raises(InputError, match=r"eps=0\.1: Foolbox gives it"):
        interop.foolbox_attack("pgd", eps=0.1)
    with pytest.raises(InputError, match="no such option"):
        interop.foolbox_attack("fgsm", steps=3)
    criterion = fb.criteria.Misclassification(y) & fb.criteria.Misclassification(y)
    with pytest.raises(InputError, match="TargetedMisclassification"):
        interop.foolbox_attack("fgsm")(fmodel, x, criterion, epsilons=0.1)
    with pytest.raises(InputError, match="PyTorch and JAX"):
        interop.from_foolbox(fmodel, x.numpy())
    with pytest.raises(NotImplementedError):
        interop.foolbox_attack("fgsm")(fmodel, x, y, epsilons=None)
