"""A PyTorch model on CUDA and on the CPU: run by `make test-gpu` on a machine that has a GPU."""

import copy

import numpy as np
import pytest

import pertcore as pc
from pertcore.testing import assert_adjoint

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA here"),
    # PyTorch says so once, of the first backward run on its own thread; it then takes the context.
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS:UserWarning"),
    # Without CuPy the attack says that its steps run on the CPU.
    pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning"),
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Tanh(), torch.nn.Flatten(),
        torch.nn.Linear(288, 5),
    ).double().eval()  # fmt: skip


def test_products_and_attacks_agree_with_the_cpu(network):
    x = np.random.default_rng(0).random((8, 3, 8, 8))
    cpu = pc.from_torch(network, input_shape=(3, 8, 8))
    gpu = pc.from_torch(copy.deepcopy(network).cuda(), input_shape=(3, 8, 8))
    assert gpu.device.type == "cuda"
    v = np.random.default_rng(1).normal(size=(3, 8, 5))
    np.testing.assert_allclose(gpu.linearize(x).vjp(v), cpu.linearize(x).vjp(v), rtol=1e-6)
    assert_adjoint(gpu, x)
    images = torch.from_numpy(x).cuda()
    ours, theirs = (
        pc.attack(model, given, attack="pgd", eps=0.05, bounds=(0, 1), task="classification")
        for model, given in ((gpu, images), (cpu, x))
    )
    assert ours.x_adv.device == images.device
    np.testing.assert_allclose(ours.x_adv.cpu().numpy(), theirs.x_adv, atol=1e-6)


def test_the_generator_of_the_card_does_not_move(network):
    before = torch.cuda.get_rng_state()
    noisy = torch.nn.Module()
    noisy.forward = lambda x: x * torch.rand(3, device=x.device)
    oracle = pc.from_torch(noisy.eval(), input_shape=3, device="cuda")
    x = np.ones((2, 3), np.float32)
    assert not np.array_equal(oracle(x), oracle(x))
    assert torch.equal(torch.cuda.get_rng_state(), before)
