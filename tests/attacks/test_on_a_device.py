"""Attacks whose arrays stay on the device of x: no copy by the host, and the CPU's answers.

CuPy is tests/device_arrays.py, kernels run through g++, and ONNX Runtime's CPU stands for its CUDA
provider: what is tested is where every array lies, and what the steps make of it.
"""

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.errors import InputError, PertcoreWarning
from tests import device_arrays
from tests.adapters.onnx.models import small_net
from tests.kernels.cuda import shim

RNG = np.random.default_rng(0)
N = 6
X = RNG.uniform(0.1, 0.9, (N, 1, 8, 8)).astype(np.float32)
FREE = RNG.random(X.shape) < 0.8
LOWER = RNG.uniform(0, 0.1, X.shape[1:]).astype(np.float32)
ON_DEVICE = [name for name, row in ATTACKS.items() if row.device]
EPS = {"inf": 0.1, "2": 0.8, "1": 4.0, "3": 0.4}


@pytest.fixture
def copies(monkeypatch, request):
    if shim.COMPILER is None:
        pytest.skip("g++ is not installed: it runs the CUDA kernels' logic on the CPU")
    return device_arrays.installed(monkeypatch, request.config.cache.mkdir("pertcore_cuda"))


def lent(values):
    return device_arrays.of(values.copy())


def both(copies, attack, **settings):
    """The attack from NumPy on the CPU, and from a device; the copies made by each step there."""
    here = pc.from_onnx(small_net(), threads=1)
    there = pc.from_onnx(small_net(), threads=1, providers=["CUDAExecutionProvider"])
    wanted = pc.attack(here, X, attack=attack, **settings)
    x, seen = lent(X), []
    copies.clear()
    found = pc.attack(
        there, x, attack=attack, callback=lambda _: seen.append(len(copies)), **settings
    )
    assert np.array_equal(x.held, X)
    return wanted, found, seen


CASES = [
    *((name, {"norm": norm}) for name in ON_DEVICE for norm in ("inf", "2")),
    *(("alg1", {"norm": norm}) for norm in ("1", "3")),
    *(("pgd", {"norm": norm, "steps": 5}) for norm in ("1", "3")),
    ("alg1", {"norm": "inf", "dither": 0.02, "restarts": 3}),
    ("alg1", {"norm": "2", "mask": FREE, "bounds": (LOWER, 1.0)}),
    ("pgd", {"norm": "inf", "restarts": 2, "step_size": 0.05, "loss": "dlr", "mask": FREE[:1]}),
    ("pgd", {"norm": "2", "targeted": True, "y": np.arange(N) % 3, "batch_size": 4}),
    ("linear", {"norm": "2", "y": np.zeros((N, 3))}),
    ("pgd", {"norm": "inf", "y": np.arange(N) % 3, "eps": np.linspace(0, 0.1, N)}),
]


@pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
@pytest.mark.parametrize(("attack", "settings"), CASES)
def test_steps_stay_where_x_lies(copies, attack, settings):
    settings = {"bounds": (0, 1), "eps": EPS[settings["norm"]], "rng": 3, **settings}
    wanted, found, seen = both(copies, attack, **settings)
    assert found.success.any() or attack in ("rfgsm", "random")
    assert len(set(seen)) == 1 + (settings.get("batch_size") is not None), "a step made a copy"
    large = [text for text in copies if "8" in text]
    assert large == [], "arrays of the size of x were copied"
    assert isinstance(found.x_adv, device_arrays.Array)
    assert isinstance(found.delta, device_arrays.Array)
    for field in ("success", "status", "before", "after"):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    for field in ("margin", "norms", "loss_after"):
        np.testing.assert_allclose(
            getattr(found, field), getattr(wanted, field), rtol=1e-4, atol=1e-5
        )
    same = np.array_equal if settings["norm"] == "inf" else near
    assert same(found.x_adv.held, wanted.x_adv)
    pc.testing.assert_in_ball(
        X, found.x_adv.held, norm=settings["norm"], eps=settings["eps"], bounds=settings["bounds"]
    )
    assert found.calls == wanted.calls


def near(a, b):
    return np.allclose(a, b, rtol=0, atol=1e-5)


def test_an_attack_without_a_version_for_devices_says_so(copies):
    there = pc.from_onnx(small_net(), threads=1, providers=["CUDAExecutionProvider"])
    for settings, why in (
        ({"attack": "square"}, "attack 'square' has no version for a device"),
        ({"attack": "pgd", "levels": 256, "x": np.round(X * 255) / 255}, "levels works on NumPy"),
        ({"attack": "fmn", "norm": 0, "eps": 5}, "norm=0 works on NumPy arrays"),
        ({"attack": "pgd", "deterministic": True}, "deterministic works on NumPy arrays"),
        ({"attack": "pgd", "evaluate_on": there}, "evaluate_on works on NumPy arrays"),
        ({"attack": "pgd", "loss": constant}, "a callable loss works on NumPy arrays"),
        ({"attack": "pgd", "oracle": pc.normalized(there, 0, 1)}, "the model takes NumPy arrays"),
    ):
        given = {"oracle": there, "eps": 0.1, "bounds": (0, 1), "x": X, **settings}
        with pytest.warns(PertcoreWarning, match=f"the steps run on the CPU.*{why}"):
            found = pc.attack(given.pop("oracle"), lent(given.pop("x")), **given)
        assert isinstance(found.x_adv, device_arrays.Array)


def constant(f, y):
    return f[:, 0].astype(np.float64), np.eye(3, dtype=f.dtype)[np.zeros(len(f), int)]


def test_what_is_wrong_with_x_is_said_of_a_device_too(copies):
    there = pc.from_onnx(small_net(), threads=1, providers=["CUDAExecutionProvider"])
    broken = X.copy()
    broken[2, 0, 3, 4] = math.nan
    with pytest.raises(InputError, match=r"x\[2, 0, 3, 4\] is nan"):
        pc.attack(there, lent(broken), eps=0.1)
    with pytest.raises(InputError, match="64 values outside bounds, the first in sample 0"):
        pc.attack(there, lent(X[:1] + 2), eps=0.1, bounds=(0, 1))


def test_a_full_device_halves_the_batch(copies, monkeypatch):
    there = pc.from_onnx(small_net(), threads=1, providers=["CUDAExecutionProvider"])
    real = type(there).linearize

    class OutOfMemoryError(MemoryError):
        pass

    OutOfMemoryError.__module__ = "cupy.cuda.memory"

    def linearize(oracle, x):
        if len(x) > 3:
            raise OutOfMemoryError("no room")
        return real(oracle, x)

    monkeypatch.setattr(type(there), "linearize", linearize)
    with pytest.warns(PertcoreWarning, match="no room for 6 samples at a time: 3 were taken"):
        found = pc.attack(there, lent(X), eps=0.1, bounds=(0, 1))
    assert len(found.success) == N
