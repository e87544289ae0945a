"""Trained networks through from_torch (by onnx2torch) and from_onnx: the same file, two ways."""

import importlib
import os
import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

import pertcore as pc
from pertcore.testing import assert_adjoint
from tests.adapters.onnx.networks import DATA

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@dataclass(frozen=True)
class Case:
    """A model, its images (channel last as stored) and budgets by norm."""

    name: str
    images: str
    key: str
    eps: tuple[float, float]
    count: int = 12

    def samples(self, shape):
        file = DATA / "datasets" / self.images
        if not file.is_file():
            pytest.skip(f"{file} is not there; PERTCORE_DATA names the folder with datasets/")
        with np.load(file) as held:
            count = 8 * self.count if os.environ.get("PERTCORE_FULL") else self.count
            x, y = held[f"x{self.key}"][:count], held[f"y{self.key}"][:count]
        x = (x.transpose(0, 3, 1, 2) if x.ndim == 4 else x).astype(np.float32) / 255
        return np.ascontiguousarray(x.reshape(-1, *shape)), y.astype(np.int64)


CASES = [
    Case("cifar10_resnet20", "cifar10_test5k.npz", "", (0.002, 0.15)),
    Case("mnist_lenet5_cln", "mnist.npz", "_test", (0.1, 1.0), count=40),
]


@pytest.fixture(scope="module")
def converter():
    """onnx2torch; torchvision, which two of its operators use, stays out where it is absent."""
    names = ("torchvision", "torchvision.ops")
    before = {name: sys.modules.get(name) for name in names}
    if importlib.util.find_spec("torchvision") is None:
        stand_in, inner = map(ModuleType, names)
        inner.roi_align, stand_in.ops = None, inner
        sys.modules |= {"torchvision": stand_in, "torchvision.ops": inner}
    yield pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
    for name, module in before.items():
        if module is None:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def pair(request, converter):
    """(case, the oracle of the module, the oracle of the file, x, y)."""
    path = DATA / "models" / f"{request.param.name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not there; PERTCORE_DATA names the folder with models/")
    file = pc.from_onnx(path, threads=1)
    x, y = request.param.samples(file.input_shape)
    module = converter.convert(str(path)).eval()
    return request.param, pc.from_torch(module, input_shape=file.input_shape), file, x, y


def relative(a, b):
    rows, others = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return np.linalg.norm(rows - others, axis=1) / np.linalg.norm(others, axis=1)


@pytest.mark.filterwarnings("ignore")
def test_values_gradients_and_tangents(pair):
    """To 1e-4; rounding puts a unit on the other side of its kink in a sample now and then."""
    _, ours, file, x, _ = pair
    rng = np.random.default_rng(0)
    u = rng.standard_normal(x.shape).astype(np.float32)
    v = rng.standard_normal((len(x), *file.output_shape)).astype(np.float32)
    lin, known = ours.linearize(x), file.linearize(x)
    assert relative(lin.value, known.value).max() <= 1e-4
    for found, wanted in ((lin.vjp(v), known.vjp(v)), (lin.jvp(u), known.jvp(u))):
        error = relative(found, wanted)
        assert np.mean(error <= 1e-4) >= 0.9
        assert error.max() <= 0.05
    assert_adjoint(ours, x)


@pytest.mark.parametrize("norm", ["inf", 2])
@pytest.mark.parametrize("name", ["alg1", "pgd", "deepfool"])
@pytest.mark.filterwarnings("ignore")
def test_attacks_find_the_same(pair, name, norm):
    case, ours, file, x, y = pair
    settings = {"attack": name, "norm": norm, "bounds": (0, 1), "rng": 0}
    if name != "deepfool":
        settings["eps"] = case.eps[norm == 2]
    found, known = (pc.attack(oracle, x, y, **settings) for oracle in (ours, file))
    close = np.abs(found.margin - known.margin) <= 1e-3 * np.maximum(1, np.abs(known.margin))
    alike = np.abs(found.norms - known.norms) <= 1e-3 * known.norms
    assert np.mean((found.success == known.success) & (close | alike)) >= 0.99
    assert known.success.any()
