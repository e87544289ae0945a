"""Reads broken models in a process of its own, within 2 GB, and says what came of each."""

import json
import resource
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import PertcoreError
from tests.adapters.onnx.models import small_net
from tests.adapters.onnx.mutations import mutated

MEMORY, LARGE = 2 << 30, 1 << 18


def verdict(content, straight=False):
    """The name of the refusal, "right", or what is wrong."""
    try:
        oracle = from_onnx(content, threads=1, straight_through=straight)
        rng = np.random.default_rng(0)
        n = 2 if np.prod(oracle.input_shape) < LARGE else 1
        x = rng.random((n, *oracle.input_shape), np.float32).astype(oracle.dtype)
        lin = oracle.linearize(x)
        u = rng.standard_normal(x.shape).astype(oracle.dtype)
        v = rng.standard_normal(lin.value.shape).astype(oracle.dtype)
        if {"vjp", "jvp"} <= oracle.capabilities:
            return judged(lin, u, v)
        product = lin.vjp(v) if "vjp" in oracle.capabilities else lin.jvp(u)
        return "right" if product.size >= 0 else ""
    except PertcoreError as error:
        return type(error).__name__
    except Exception:  # noqa: BLE001  anything else is what is looked for
        return traceback.format_exc()


def judged(lin, u, v):
    """Whether v J u comes out the same from both sides."""
    pushed, pulled = lin.jvp(u), lin.vjp(v)
    if not (np.isfinite(pushed).all() and np.isfinite(pulled).all()):
        return "not finite"
    left = np.sum(v * pushed, dtype=np.float64)
    right = np.sum(pulled * u, dtype=np.float64)
    size = np.linalg.norm(v) * np.linalg.norm(pushed) + np.linalg.norm(pulled) * np.linalg.norm(u)
    if not np.isfinite(left - right):
        return "not finite"
    fits = abs(left - right) <= 1e-3 * size + 1e-6
    return "right" if fits else f"wrong: {left} is not {right}"


def main():
    warnings.simplefilter("ignore")
    verdict(small_net().SerializeToString())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        number, seed = json.loads(line)
        answer = verdict(mutated(number, seed), straight=bool(number % 2))
        sys.stdout.write(json.dumps([number, answer]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
