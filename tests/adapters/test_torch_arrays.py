"""Tensors go into an attack and tensors come out: kind, device, layout, and what is refused."""

import sys
from types import ModuleType

import numpy as np
import pytest

import pertcore as pc
from pertcore.arrays import as_numpy
from pertcore.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def oracle():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    )
    return pc.from_torch(module.eval(), input_shape=(2, 4, 4))


def images():
    return torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))


KINDS = {
    "plain": lambda x: x,
    "with a gradient": lambda x: x.requires_grad_(),
    "a parameter": torch.nn.Parameter,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "every second": lambda x: torch.stack([x, x], dim=1).flatten(0, 1)[::2],
    "of a subclass": lambda x: x.as_subclass(type("Image", (torch.Tensor,), {})),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_tensors_go_in_and_come_out(oracle, kind):
    plain = images()
    x = KINDS[kind](plain.clone())
    y = torch.from_numpy(oracle(plain.numpy()).argmax(1))
    settings = {"attack": "pgd", "bounds": (0, 1)}
    r = pc.attack(oracle, x, y, eps=torch.full((6,), 0.1), **settings)
    wanted = pc.attack(oracle, plain.numpy(), y.numpy(), eps=np.float32(0.1), **settings)
    for found, known in ((r.x_adv, wanted.x_adv), (r.delta, wanted.delta)):
        assert isinstance(found, torch.Tensor)
        assert not found.requires_grad
        assert found.device == x.device
        np.testing.assert_array_equal(found.detach().numpy(), known)
    assert isinstance(wanted.x_adv, np.ndarray)
    if kind == "channels last":
        assert r.x_adv.is_contiguous(memory_format=torch.channels_last)
    assert x.grad is None
    np.testing.assert_array_equal(x.detach().numpy(), plain.numpy())


def test_float64_stays_float64_and_channels_last_stays_so():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 3)
    )
    module = module.double().eval().to(memory_format=torch.channels_last)
    x = images().double().to(memory_format=torch.channels_last)
    oracle = pc.from_torch(module, input_shape=(2, 4, 4))
    r = pc.attack(oracle, x, module(x).argmax(1), attack="pgd", eps=0.1, bounds=(0, 1))
    assert r.x_adv.dtype == r.delta.dtype == torch.float64
    assert r.x_adv.is_contiguous(memory_format=torch.channels_last)
    assert (r.x_adv - x).abs().max() <= 0.1
    assert torch.any(r.x_adv.float().double() != r.x_adv)  # no float32 on the way
    assert np.array_equal(module(r.x_adv).argmax(1).numpy(), r.after)


def test_masks_bounds_and_single_numbers_may_be_tensors(oracle):
    x = images()
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0] = True
    y = torch.from_numpy(oracle(x.numpy()).argmax(1))
    r = pc.attack(
        oracle, x, y, attack="pgd", eps=torch.tensor(0.1),
        bounds=(torch.zeros(2, 4, 4), torch.tensor(1.0)), mask=mask,
    )  # fmt: skip
    assert r.delta[:, 1].abs().max() == 0
    assert r.delta[:, 0].abs().max() > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2).bfloat16(), "torch.bfloat16.*float32 or float64"),
        (torch.ones(2, dtype=torch.complex64), "complex64.*real"),
        (torch.ones(2).to_sparse(), "strided"),
        (torch.ones(2, device="meta"), "meta"),
    ],
)
def test_what_numpy_cannot_hold_is_refused(values, message):
    with pytest.raises(InputError, match=f"images.*{message}"):
        as_numpy(values, "images")


class OfAnotherDevice:
    """Stands for a CuPy array: on a device, handed out by get(), of a module called cupy."""

    __module__ = "cupy"
    device = "a device"

    def __init__(self, values):
        self.values = np.asarray(values)

    def __dlpack__(self):
        raise AssertionError("the host copy is what NumPy can read")

    def get(self):
        return self.values


def test_arrays_on_a_device_come_in_by_their_host_copy_and_go_back(monkeypatch):
    stand_in = ModuleType("cupy")
    stand_in.asarray = stand_in.empty_like = OfAnotherDevice
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    array, restore = as_numpy(OfAnotherDevice([1.0, 2.0]), "x")
    np.testing.assert_array_equal(array, [1, 2])
    back = restore(array * 2)
    assert isinstance(back, OfAnotherDevice)
    np.testing.assert_array_equal(back.values, [2, 4])


def test_arrays_of_a_framework_nobody_knows_are_refused():
    class Unknown:
        def __init__(self, held):
            self.held = held

        def __dlpack__(self, **settings):
            return self.held.__dlpack__(**settings)

        def __dlpack_device__(self):
            return self.held.__dlpack_device__()

    with pytest.raises(InputError, match="x is a Unknown"):
        as_numpy(Unknown(np.ones(3)), "x")
