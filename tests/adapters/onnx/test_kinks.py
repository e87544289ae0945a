"""Which slope is taken where there are several: that of torch, and the table of the manual."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from tests.adapters.onnx.models import model, value, weight

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional
MANUAL = Path(__file__).parents[3] / "docs" / "onnx.md"


@dataclass(frozen=True)
class Kink:
    """An operator at points x where it has several slopes, torch's function, and the slopes."""

    op: str
    x: Any
    slopes: Any
    torch: Any
    attrs: dict[str, Any] = field(default_factory=dict)
    more: tuple[Any, ...] = ()


PLANE = np.array([[1, 1, 0, 0], [1, 1, 0, 2], [3, 0, 5, 5], [0, 3, 5, 5]], np.float32)[None]
FIRST = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]], np.float32)[None]
TILES = {"kernel_shape": [2, 2], "strides": [2, 2]}
OVERLAPS = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
BOUNDS = (np.float32(-1), np.float32(2))
KINKS = [
    Kink("Relu", [0.0], [0.0], F.relu),
    Kink("Abs", [0.0], [0.0], torch.abs),
    Kink("LeakyRelu", [0.0], [0.25], lambda x: F.leaky_relu(x, 0.25), {"alpha": 0.25}),
    Kink("PRelu", [0.0], [0.5], lambda x: F.prelu(x, torch.tensor([0.5])), {}, ([0.5],)),
    Kink("Elu", [0.0], [1.0], F.elu),
    Kink("Celu", [0.0], [1.0], F.celu),
    Kink("Selu", [0.0], None, F.selu),
    Kink("Softsign", [0.0], [1.0], F.softsign),
    Kink("Clip", [-1.0, 2.0], [0.0, 0.0], lambda x: F.hardtanh(x, -1, 2), {}, BOUNDS),
    Kink("HardSwish", [-3.0, 3.0], [0.0, 1.0], F.hardswish),
    Kink("HardSigmoid", [-3.0, 3.0], [0.0, 0.0], F.hardsigmoid, {"alpha": 1 / 6, "beta": 0.5}),
    Kink("Shrink", [-0.5, 0.5], [0.0, 0.0], F.softshrink, {"lambd": 0.5, "bias": 0.5}),
    Kink("Sqrt", [0.0], [np.inf], torch.sqrt),
    Kink("Pow", [0.0], [np.inf], lambda x: x**0.5, {}, (np.float32(0.5),)),
    Kink("Max", [1.0, 2.0], [0.5, 0.5], lambda x: torch.maximum(x, 1 * BOTH), {}, ([1.0, 2.0],)),
    Kink("Min", [1.0, 2.0], [0.5, 0.5], lambda x: torch.minimum(x, 1 * BOTH), {}, ([1.0, 2.0],)),
    Kink("ReduceMax", [1.0, 3.0, 3.0], [0, 0.5, 0.5], lambda x: x.amax(1), {}, ([1],)),
    Kink("ReduceMin", [1.0, 1.0, 3.0], [0.5, 0.5, 0], lambda x: x.amin(1), {}, ([1],)),
    Kink("ReduceL2", [0.0, 0.0], [0, 0], lambda x: torch.linalg.vector_norm(x, dim=1), {}, ([1],)),
    Kink("ReduceL1", [0.0, 2.0], [0, 1], lambda x: x.abs().sum(1), {}, ([1],)),
    Kink("ReduceProd", [0.0, 2.0, 3.0], [6, 0, 0], lambda x: x.prod(1), {}, ([1],)),
    Kink("MaxPool", PLANE, FIRST, lambda x: F.max_pool2d(x, 2), TILES),
    Kink("MaxPool", PLANE, None, lambda x: F.max_pool2d(x, 3, 2, 1), OVERLAPS),
    Kink("GlobalMaxPool", np.ones((1, 2, 2), np.float32), None, lambda x: F.max_pool2d(x, 2)),
]  # fmt: skip
BOTH = torch.tensor([1.0, 2.0])


def slopes(kink, way):
    x = np.asarray(kink.x, np.float32)[None]
    weights = [
        weight(f"w{i}", np.asarray(v, np.int64 if kink.op.startswith("Reduce") else np.float32))
        for i, v in enumerate(kink.more)
    ]
    node = helper.make_node(kink.op, ["x", *(w.name for w in weights)], ["y"], **kink.attrs)
    net = model([node], [value("x", ["N", *x.shape[1:]])], [value("y", None)], weights)
    lin = from_onnx(net, threads=1).linearize(x)
    if way == "vjp":
        return lin.vjp(np.ones_like(lin.value))[0]
    units = np.eye(x.size, dtype=np.float32).reshape(x.size, *x.shape)
    return lin.jvp(units).reshape(x.size, -1).sum(1).reshape(x.shape[1:])


def by_torch(kink):
    leaf = torch.tensor(np.asarray(kink.x, np.float32)[None], requires_grad=True)
    kink.torch(leaf).sum().backward()
    return leaf.grad[0].numpy()


@pytest.mark.parametrize("way", ["vjp", "jvp"])
@pytest.mark.parametrize("kink", KINKS, ids=lambda k: k.op)
def test_the_slope_is_that_of_torch(kink, way):
    found = slopes(kink, way)
    np.testing.assert_allclose(found, by_torch(kink), rtol=1e-6)
    if kink.slopes is not None:
        np.testing.assert_allclose(found, np.asarray(kink.slopes, np.float32), rtol=1e-6)


def test_every_kink_is_in_the_manual():
    rows = [line for line in MANUAL.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {kink.op for kink in KINKS} == named
