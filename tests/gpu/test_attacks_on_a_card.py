"""Attacks whose arrays stay on the card: run by `make test-gpu` on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.testing import assert_in_ball
from tests.device_arrays import KNOWN

cupy = pytest.importorskip(
    "cupy", reason="CuPy is not installed: pip install cupy-cuda13x", exc_type=ImportError
)
CUDA = "CUDAExecutionProvider"
DEMO = Path(pc.__path__[0]) / "demo"
ON_DEVICE = [name for name, row in ATTACKS.items() if row.device]
EPS = {"inf": 0.1, "2": 1.0}


def _missing() -> str:
    try:
        card = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy sees no GPU here: {error}"
    return "" if card else "CuPy sees no GPU here"


pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")
NO_CARD = _missing()
needs_card = pytest.mark.skipif(bool(NO_CARD), reason=NO_CARD)
needs_onnx = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(),
    reason=f"onnxruntime has no {CUDA} here: install pertcore[onnx-gpu] on a machine with a GPU",
)


def test_cupy_has_what_numpy_hands_to_it():
    """The stand-in for CuPy in the other tests lets these through."""
    assert [name for name in KNOWN if not hasattr(cupy, name)] == []


@pytest.fixture(scope="module")
def digits():
    with np.load(DEMO / "digits.npz") as held:
        return held["x"][:256], held["y"][:256]


def check(there, here, x, y, attack, norm, move, bare):
    """Inside ball and box to the last bit, and as strong as on the CPU."""
    settings = {"attack": attack, "norm": norm, "eps": EPS[norm], "bounds": (0, 1), "rng": 1}
    wanted = pc.attack(here, x, y, **settings)
    given = move(x)
    found = pc.attack(there, given, y, **settings)
    assert type(found.x_adv) is type(given) and type(found.delta) is type(given)
    assert not any("run on the CPU" in warning for warning in found.warnings)
    assert_in_ball(x, bare(found.x_adv), norm=norm, eps=EPS[norm], bounds=(0, 1))
    assert np.mean(found.success == wanted.success) > 0.95


@needs_card
@needs_onnx
@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("attack", ON_DEVICE)
def test_onnx_models(digits, attack, norm):
    x, y = digits
    path = DEMO / "digits_classifier.onnx"
    there, here = pc.from_onnx(path, providers=[CUDA]), pc.from_onnx(path)
    if attack == "linear":
        y = np.eye(10, dtype=np.float32)[y]
    check(there, here, x, y, attack, norm, cupy.asarray, cupy.asnumpy)


@needs_card
@pytest.mark.parametrize("attack", ["alg1", "pgd"])
def test_pytorch_models(digits, attack):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no CUDA here")
    x, _ = digits
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    here = pc.from_torch(module, input_shape=x.shape[1:])
    y = here(x).argmax(axis=1)
    there = pc.from_torch(module.cuda(), input_shape=x.shape[1:])
    check(
        there, here, x, y, attack, "2", lambda a: torch.from_numpy(a).cuda(),
        lambda a: a.cpu().numpy(),
    )  # fmt: skip
