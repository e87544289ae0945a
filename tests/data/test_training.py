"""Perturbed batches: inside the ball, of the model as it is now, and worth training on."""

import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.demo import CLASSIFIER, digits
from pertcore.errors import InputError, PertcoreWarning

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
SETTINGS = {"eps": 0.1, "bounds": (0, 1), "steps": 5}


def batches(count=3, size=20):
    x, y = digits()
    return [(x[i : i + size], y[i : i + size]) for i in range(0, count * size, size)]


def test_every_batch_is_what_an_attack_gives():
    model, loader = pc.from_onnx(CLASSIFIER, threads=1), batches()
    found = list(pc.data.perturbed(loader, model, "alg1", **SETTINGS))
    assert len(found) == len(loader)
    for (x, y), (x_adv, same) in zip(loader, found):
        assert same is y and x_adv.dtype == x.dtype
        r = pc.attack(model, x, y, attack="alg1", **SETTINGS)
        np.testing.assert_array_equal(x_adv, r.x_adv)
        assert r.success.any()


def test_a_pass_has_its_own_random_numbers_and_the_seed_repeats_them():
    model = pc.from_onnx(CLASSIFIER, threads=1)
    passes = []
    for _ in range(2):
        made = pc.data.perturbed(batches(2), model, "random", eps=0.1, rng=3)
        passes.append([np.concatenate([x for x, _ in made]) for _ in range(2)])
    np.testing.assert_array_equal(passes[0], passes[1])
    assert np.any(passes[0][0] != passes[0][1])
    x = np.concatenate([x for x, _ in batches(2)])
    noise = np.sign(passes[0][0] - x)
    both = (noise[:20] != 0) & (noise[20:] != 0)
    assert np.any(noise[:20][both] != noise[20:][both]), "numbers of its own"


def test_batches_keep_what_they_carry():
    model = pc.from_onnx(CLASSIFIER, threads=1)
    (x, y), index = batches(1)[0], np.arange(20)
    made = pc.data.perturbed([[x, y, index]], model, **SETTINGS)
    ((x_adv, same, kept),) = made
    assert same is y and kept is index and np.abs(x_adv - x).max() <= 0.1 + 1e-7
    (alone,) = pc.data.perturbed([x], model, **SETTINGS)
    assert alone.shape == x.shape and len(made) == 1


def test_doubts_are_said_once():
    x, y = batches(1)[0]
    made = pc.data.perturbed([(x, y)] * 3, pc.from_onnx(CLASSIFIER, threads=1), eps=0.1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", PertcoreWarning)
        list(made)
        once = len(said)
        list(made)
    assert 0 < once == len(said) == len({str(w.message) for w in said})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"attack": "fsgm"}, "fsgm"),
        ({"first_index": 3}, "first_index"),
        ({"rng": -1}, "rng"),
        ({"loader": 3}, "loader is a int"),
        ({"loader": [{"image": 1}]}, "a batch is a dict"),
        ({"loader": ["x.png"]}, "a batch is a str"),
        ({"model": "net.onnx"}, "model is a str"),
        ({"stepz": 3}, "stepz"),
    ],
)
def test_wrong_calls_say_so(wrong, named):
    given = {"loader": batches(1), "model": pc.from_onnx(CLASSIFIER, threads=1), "attack": "pgd"}
    given |= {"eps": 0.1, **wrong}
    with pytest.raises(InputError, match=named):
        list(pc.data.perturbed(given.pop("loader"), given.pop("model"), **given))


def trained(adversarial):
    """A small perceptron on the digits, and whether its module was left alone."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 10),
    ).train()  # fmt: skip
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in digits())
    data = torch.utils.data.TensorDataset(x[:400].float(), y[:400].long())
    order = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(data, batch_size=50, shuffle=True, generator=order)
    if adversarial:
        loader = pc.data.perturbed(loader, module, "pgd", **SETTINGS)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(25):
        for images, labels in loader:
            assert isinstance(images, torch.Tensor) and not images.requires_grad
            assert all(part.training for part in module.modules())
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(images), labels).backward()
            optimizer.step()
    return module, x[400:].numpy(), y[400:].numpy()


def test_training_on_them_makes_a_network_robust():
    kept = []
    for adversarial in (False, True):
        module, x, y = trained(adversarial)
        model = pc.from_torch(module.eval(), input_shape=(1, 8, 8))
        kept.append(pc.attack(model, x, y, attack="pgd", **SETTINGS).robust_accuracy)
    assert kept[1] > kept[0] + 0.1, kept
