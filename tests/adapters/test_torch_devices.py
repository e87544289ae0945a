"""Tensors and CuPy arrays through a PyTorch oracle: the same kind comes back, by no other memory.

CuPy is a stand-in whose arrays speak DLPack alone; on the CPU, since no GPU may be here.
"""

import sys
from types import ModuleType

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import DeviceMemoryError, InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
X = np.random.default_rng(0).random((6, 2, 4, 4), dtype=np.float32)
SEED = np.random.default_rng(1).random((6, 3), dtype=np.float32)
SEEDS = np.random.default_rng(2).random((2, 6, 3), dtype=np.float32)


class Array:
    """Stands for cupy.ndarray: its memory is reached through DLPack alone."""

    def __init__(self, held):
        self.held = held

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __dlpack__(self, **_):
        return self.held.__dlpack__()

    def __dlpack_device__(self):
        return self.held.__dlpack_device__()


@pytest.fixture
def oracle():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    )
    return pc.from_torch(module.eval(), input_shape=(2, 4, 4))


@pytest.fixture
def cupy(monkeypatch):
    fake = ModuleType("cupy")
    fake.ndarray, fake.from_dlpack = Array, lambda tensor: Array(tensor.numpy())
    monkeypatch.setitem(sys.modules, "cupy", fake)


def run(oracle, wrap):
    lin = oracle.linearize(wrap(X))
    return [
        oracle(wrap(X)), lin.value, lin.vjp(wrap(SEED)), lin.vjp(wrap(SEEDS)), lin.jvp(wrap(X)),
        oracle(wrap(X[:0])), oracle.linearize(wrap(X[:0])).vjp(wrap(SEED[:0])),
    ]  # fmt: skip


def test_what_goes_in_comes_out(oracle, cupy):
    wanted = run(oracle, lambda a: a)
    assert all(isinstance(a, np.ndarray) for a in wanted)
    for wrap, kind, bare in (
        (lambda a: Array(a.copy()), Array, lambda a: a.held),
        (lambda a: torch.from_numpy(a.copy()), torch.Tensor, lambda a: a.numpy()),
    ):
        for a, b in zip(run(oracle, wrap), wanted, strict=True):
            assert isinstance(a, kind)
            np.testing.assert_array_equal(bare(a), b)


def test_calls_are_counted_whatever_the_kind(oracle):
    run(oracle, torch.from_numpy)
    calls = oracle.calls.copy()
    oracle.calls = pc.Calls()
    run(oracle, lambda a: a)
    assert calls == oracle.calls


def test_a_result_shares_no_memory_with_what_was_given():
    same = pc.from_torch(torch.nn.Identity(), input_shape=3)
    x = torch.ones(2, 3)
    value, lin = same(x), same.linearize(x)
    pulled = lin.vjp(x)
    x.zero_()
    assert value.min() == lin.value.min() == pulled.min() == 1
    lin.value.zero_()
    assert torch.equal(lin.vjp(torch.ones(2, 3)), torch.ones(2, 3))


def test_a_tensor_of_another_device_or_shape_is_refused(oracle):
    with pytest.raises(InputError, match="x is on meta and the model on cpu"):
        oracle(torch.empty(6, 2, 4, 4, device="meta"))
    with pytest.raises(InputError, match="argument of vjp is on meta"):
        oracle.linearize(X).vjp(torch.empty(6, 3, device="meta"))
    with pytest.raises(InputError, match="this model takes"):
        oracle(torch.empty(6, 2, 4, 5))
    with pytest.raises(InputError, match=r"\(co\)tangent has shape \(5, 3\)"):
        oracle.linearize(torch.from_numpy(X)).vjp(torch.empty(5, 3))


def test_a_tensor_with_a_gradient_is_read_and_left_alone(oracle):
    x = torch.from_numpy(X.copy()).requires_grad_()
    found = oracle.linearize(x).vjp(torch.from_numpy(SEED))
    assert not found.requires_grad and x.grad is None
    assert oracle(x.double()).dtype == torch.float32


def test_a_full_device_has_a_name_of_its_own():
    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    roomy = pc.from_torch(torch.nn.Identity(), input_shape=3)
    roomy.model = full
    with pytest.raises(DeviceMemoryError, match=r"no room for this batch \(CUDA out of memory"):
        roomy(np.ones((2, 3), np.float32))
