"""The same model on CUDA and on the CPU: run by `make test-gpu` on a machine that has a GPU."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import pertcore as pc
from pertcore.testing import assert_adjoint, assert_in_ball

CUDA = "CUDAExecutionProvider"
DEMO = Path(pc.__path__[0]) / "demo"

pytestmark = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(),
    reason=f"onnxruntime has no {CUDA} here: install pertcore[onnx-gpu] on a machine with a GPU",
)


@pytest.fixture(scope="module")
def digits():
    with np.load(DEMO / "digits.npz") as held:
        return held["x"][:64], held["y"][:64]


def test_products_agree_with_the_cpu(digits):
    x, _ = digits
    cpu = pc.from_onnx(DEMO / "digits_classifier.onnx")
    gpu = pc.from_onnx(DEMO / "digits_classifier.onnx", providers=[CUDA])
    assert_adjoint(gpu, x, rtol=1e-4, rng=0)
    cotangent = np.random.default_rng(0).normal(size=(len(x), 10)).astype(np.float32)
    at_cpu, at_gpu = cpu.linearize(x), gpu.linearize(x)
    np.testing.assert_allclose(at_gpu.value, at_cpu.value, rtol=1e-3, atol=1e-4)
    expected = at_cpu.vjp(cotangent)
    np.testing.assert_allclose(
        at_gpu.vjp(cotangent), expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max()
    )


def test_an_attack_on_cuda_keeps_every_promise(digits):
    x, y = digits
    gpu = pc.from_onnx(DEMO / "digits_classifier.onnx", providers=[CUDA])
    result = pc.attack(gpu, x, y, eps=0.1, bounds=(0, 1))
    assert_in_ball(x, result.x_adv, norm=math.inf, eps=0.1, bounds=(0, 1))
    assert result.fooling_ratio > 0.2
