"""A module is left as it was found, and random or batch-wise ones are not used in silence."""

import copy
import threading
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.testing import assert_oracle

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
TRAINING = "training mode"


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip


def points(n=6):
    return np.random.default_rng(0).random((n, 2, 6, 6), dtype=np.float32)


def modes(module):
    return [m.training for m in module.modules()]


def hooks(module):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in module.modules()]  # fmt: skip


def use(oracle):
    x = points()
    oracle(x)
    lin = oracle.linearize(x)
    lin.vjp(np.ones((4, len(x), 3)))
    lin.jvp(np.ones(x.shape))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("training", ["all", "one", "none"])
def test_modes_flags_gradients_values_hooks_and_random_numbers(training, wrapped):
    module = network().train(training == "all")
    module[3].train(training != "none")
    module[0].weight.requires_grad_(False)
    module[5].weight.grad = torch.full_like(module[5].weight, 7)
    state = copy.deepcopy(module.state_dict())
    flags = [p.requires_grad for p in module.parameters()]
    kept, held = modes(module), hooks(module)
    torch.manual_seed(11)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    oracle = pc.from_torch((lambda x: module(x)) if wrapped else module, input_shape=(2, 6, 6))
    for model in (oracle, oracle.deterministic()):
        use(model)
    assert modes(module) == kept
    assert hooks(module) == held
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert [p.requires_grad for p in module.parameters()] == flags
    assert torch.equal(module[5].weight.grad, torch.full_like(module[5].weight, 7))
    assert all(p.grad is None for p in list(module.parameters())[:-2])
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_the_checks_above_see_a_change():
    module = network()
    before, state = modes(module), copy.deepcopy(module.state_dict())
    module(torch.from_numpy(points()))
    assert not all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    assert modes(module.eval()) != before


@pytest.mark.parametrize("wrapped", [False, True])
def test_training_mode_is_evaluated_and_said(wrapped):
    module = network()
    reference = copy.deepcopy(module).eval()
    oracle = pc.from_torch((lambda x: module(x)) if wrapped else module, input_shape=(2, 6, 6))
    x = points()
    with torch.no_grad():
        np.testing.assert_allclose(oracle(x), reference(torch.from_numpy(x)).numpy(), rtol=1e-6)
    assert any(TRAINING in note for note in oracle.notes)
    assert_oracle(oracle, x)
    assert not pc.from_torch(reference, input_shape=(2, 6, 6)).notes


def test_the_user_may_train_between_two_runs():
    module = network().eval()
    oracle = pc.from_torch(module, input_shape=(2, 6, 6))
    before = oracle(points())
    module.train()
    assert np.array_equal(oracle(points()), before)
    assert module.training


def test_modes_are_put_back_after_an_error():
    class Breaks(nn.Module):
        limit = 2

        def forward(self, x):
            if len(x) > self.limit:
                raise RuntimeError("too many")
            return x * 2

    module = Breaks()
    oracle = pc.from_torch(module, input_shape=3)
    torch.manual_seed(5)
    random = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="too many"):
        oracle.linearize(np.ones((3, 3)))
    assert module.training
    assert torch.equal(torch.get_rng_state(), random)


def test_modules_of_other_threads_keep_their_mode():
    """The hook that finds a function's modules looks at its own thread alone."""
    other, seen = nn.Linear(3, 3), []

    def model(x):
        worker = threading.Thread(target=lambda: seen.append((other(x), other.training)))
        worker.start()
        worker.join()
        return x * 2

    pc.from_torch(model, input_shape=3)
    assert all(training for _, training in seen)
    assert seen


def test_an_overridden_train_is_not_called():
    class Merges(nn.Linear):
        def train(self, mode=True):
            raise AssertionError("weights would be merged")

    module = Merges(3, 2)
    pc.from_torch(module, input_shape=3).linearize(np.ones((2, 3)))
    assert module.training


@pytest.mark.parametrize(
    "model",
    [
        nn.BatchNorm1d(3, track_running_stats=False),
        lambda x: nn.functional.batch_norm(x, None, None, training=True),
        lambda x: x - x.mean(dim=0),
    ],
)
def test_samples_that_feel_each_other_are_said(model):
    oracle = pc.from_torch(model, input_shape=3)
    assert any("samples feel each other" in note for note in oracle.notes)
    x = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pc.attack(oracle, x, eps=0.1, bounds=(0, 1), attack="fgsm", task="classification")
    assert any("samples feel each other" in str(w.message) for w in said)


class Noisy(nn.Module):
    def forward(self, x):
        return x * torch.rand(3)


def test_a_random_model_shows_that_it_is_random():
    """Its numbers move on from run to run, while those of the user do not move."""
    torch.manual_seed(3)
    random = torch.get_rng_state()
    oracle = pc.from_torch(Noisy().eval(), input_shape=3)
    x = np.array([[1, 1, 1], [2, 2, 2]], np.float32)
    assert not np.array_equal(oracle(x), oracle(x))
    with pytest.warns(pc.PertcoreWarning, match="random model"):
        pc.attack(oracle, x, eps=0.1, bounds=(0, 3), task="classification")
    assert torch.equal(torch.get_rng_state(), random)


def test_products_of_a_random_model_are_those_of_the_run_that_was_made():
    oracle = pc.from_torch(Noisy(), input_shape=3)
    x, ones = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    lin = oracle.linearize(x)
    oracle(x)
    np.testing.assert_array_equal(lin.vjp(ones), lin.value)
    np.testing.assert_array_equal(lin.jvp(ones), lin.value)


def test_one_thread_when_deterministic():
    seen = []

    def model(x):
        seen.append(torch.get_num_threads())
        return x * 2

    before = torch.get_num_threads()
    oracle = pc.from_torch(model, input_shape=3)
    quiet = oracle.deterministic()
    torch.set_num_threads(2)
    quiet(np.ones((2, 3)))
    oracle(np.ones((2, 3)))
    torch.set_num_threads(before)
    assert seen[-2:] == [1, 2]
    assert quiet.calls.f == 2


def test_checkpointed_modules():
    from torch.utils.checkpoint import checkpoint

    module = network()
    oracle = pc.from_torch(
        lambda x: checkpoint(module, x, use_reentrant=False), input_shape=(2, 6, 6)
    )
    plain = pc.from_torch(module, input_shape=(2, 6, 6))
    x, v = points(), np.ones((6, 3))
    np.testing.assert_array_equal(oracle.linearize(x).vjp(v), plain.linearize(x).vjp(v))


def test_numbers_of_a_graphics_card_are_put_back_too(monkeypatch):
    """No card needed: its generator is played by a list."""
    from pertcore.adapters.torch.undisturbed import Around

    card, host = torch.device("cuda", 0), torch.Generator().get_state()
    numbers = [torch.tensor([1])]
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: numbers[-1])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: numbers.append(state))
    around = Around((), card, random=[host, torch.tensor([7])])
    with around.running(graph=False):
        assert numbers[-1].item() == 7
        numbers.append(torch.tensor([8]))
    assert numbers[-1].item() == 1
    assert around.random[1].item() == 8
