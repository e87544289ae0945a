"""pertcore's attacks as ART evasion attacks, on ART's own classifiers."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore import interop
from pertcore.errors import InputError
from pertcore.testing import assert_in_ball

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def art():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("art", reason="adversarial-robustness-toolbox is not installed")
        return importlib.import_module("art.estimators.classification")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(10, 30), torch.nn.Tanh(), torch.nn.Linear(30, 4))


@pytest.fixture(scope="module")
def classifier(art, net):
    return art.PyTorchClassifier(
        net, torch.nn.CrossEntropyLoss(), (10,), 4, clip_values=(0.0, 1.0),
        preprocessing=(0.4, 0.5), device_type="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).random((40, 10), np.float32)


def test_the_oracle_is_the_classifier_with_its_preprocessing(classifier, x):
    oracle = interop.from_art(classifier)
    np.testing.assert_allclose(oracle(x), classifier.predict(x), rtol=1e-5, atol=1e-6)
    v = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    rows = classifier.class_gradient(x)
    found = oracle.linearize(x).vjp(v)
    np.testing.assert_allclose(found, np.einsum("nk,nkd->nd", v, rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", ["classes", "one-hot", "none"])
@pytest.mark.parametrize(("name", "eps"), [("pgd", 0.3), ("portfolio", 0.3), ("fmn", None)])
def test_generate(classifier, x, name, eps, labels):
    y = classifier.predict(x).argmax(axis=1)
    if labels != "none":
        y[:4] = (y[:4] + 1) % 4
    given = {"classes": y, "one-hot": np.eye(4)[y], "none": None}[labels]
    attack = interop.art_attack(classifier, name, eps=eps, norm=2)
    x_adv = attack.generate(x, given)
    assert isinstance(x_adv, np.ndarray) and x_adv.dtype == np.float32
    assert_in_ball(x, x_adv, norm=2, eps=attack.result.norms, bounds=(0, 1))
    own = pc.attack(interop.from_art(classifier), x, y, attack=name, eps=eps, norm=2, bounds=(0, 1))
    assert np.array_equal(x_adv, own.x_adv)
    after = classifier.predict(x_adv).argmax(axis=1)
    assert np.array_equal(attack.result.success, (after != y) & own.attackable)
    assert attack.result.success.sum() > 10


def test_as_strong_as_art_in_its_own_hands(art, classifier, x):
    evasion = importlib.import_module("art.attacks.evasion")
    y = classifier.predict(x).argmax(axis=1)
    settings = {"eps": 0.06, "eps_step": 0.006, "max_iter": 20, "verbose": False}
    theirs = evasion.ProjectedGradientDescent(classifier, **settings).generate(x, y)
    ours = interop.art_attack(classifier, "pgd", eps=0.06, steps=20).generate(x=x, y=y)
    fooled = [np.sum(classifier.predict(z).argmax(axis=1) != y) for z in (theirs, ours)]
    assert 5 < fooled[0] <= fooled[1] < len(x)


def test_it_is_an_evasion_attack_like_others(art, classifier, x):
    base = importlib.import_module("art.attacks.attack")
    attack = interop.art_attack(classifier, "fgsm", eps=0.1, targeted=True)
    assert isinstance(attack, base.EvasionAttack) and attack.targeted
    assert attack.estimator is classifier
    target = (classifier.predict(x).argmax(axis=1) + 1) % 4
    mask = np.arange(10) % 2
    x_adv = attack.generate(x, target, mask=mask)
    assert np.all(x_adv[:, ::2] == x[:, ::2])
    assert np.abs(x_adv - x).max() == pytest.approx(0.1)
    attack.set_params(eps=0.0)
    assert np.array_equal(attack.generate(x, target), x)


@pytest.mark.filterwarnings("ignore:the module is in training mode:pertcore.PertcoreWarning")
def test_training_with_it(art, classifier, x):
    trainer = importlib.import_module("art.defences.trainer").AdversarialTrainer
    optimizer = torch.optim.SGD(classifier.model.parameters(), lr=0.0)
    learner = art.PyTorchClassifier(
        classifier.model, torch.nn.CrossEntropyLoss(), (10,), 4, optimizer=optimizer,
        clip_values=(0.0, 1.0), device_type="cpu",
    )  # fmt: skip
    attack = interop.art_attack(learner, "pgd", eps=0.1, steps=3)
    y = np.eye(4, dtype=np.float32)[learner.predict(x).argmax(axis=1)]
    trainer(learner, attacks=attack, ratio=1.0).fit(x, y, batch_size=20, nb_epochs=1)
    assert attack.result is not None and len(attack.result.success) == 20


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
def test_classifiers_with_class_gradients_and_without(art, x):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is absent")
    labels = (x[:, 0] + x[:, 1] > 1).astype(int) + (x[:, 2] > 0.7)
    model = linear_model.LogisticRegression().fit(x, labels)
    for made in (art.SklearnClassifier(model, clip_values=(0, 1)), blind(art, model)):
        attack = interop.art_attack(made, "alg1", eps=0.4)
        x_adv = attack.generate(x)
        assert attack.result.fooling_ratio > 0.5
        before, after = (made.predict(z).argmax(axis=1) for z in (x, x_adv))
        assert np.array_equal(attack.result.success, before != after)
        assert attack.result.exact == (made.__class__.__name__ != "BlackBoxClassifier")


def blind(art, model):
    return art.BlackBoxClassifier(model.predict_proba, (10,), 3, clip_values=(0, 1))


def test_wrong_use_is_one_clear_error(art, classifier, x):
    with pytest.raises(InputError, match=r"bounds=.*ART gives it"):
        interop.art_attack(classifier, "pgd", eps=0.1, bounds=(0, 1))
    with pytest.raises(InputError, match="no such option"):
        interop.art_attack(classifier, "fgsm", eps=0.1, steps=3)
    with pytest.raises(TypeError, match="epsilon"):
        interop.art_attack(classifier, "fgsm", eps=0.1).generate(x, epsilon=3)
    with pytest.raises(Exception, match="ClassifierMixin"):
        interop.art_attack(object(), "fgsm", eps=0.1)
