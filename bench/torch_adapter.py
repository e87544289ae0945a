"""What `from_torch` costs: PGD through it beside the same PGD written by hand in PyTorch.

Run `python -m bench.torch_adapter [--out FILE] [--rounds N]` with PERTCORE_DATA or ../shared/data.
resnet20 (CIFAR-10) by onnx2torch, 128 images, p = inf, eps 8/255, margin loss, no sample leaves:
in the loops no image is ever dropped, so every contestant makes the same model runs.

hand      value, margin, torch.autograd.grad, sign step, clamps: a loop as users write it
adapter   the same loop, with `linearize(x)` and `vjp(v)` of the oracle in the place of autograd
attack    `pertcore.attack(..., attack="pgd")` whole, for a target nobody reaches
parts     linearize and vjp alone beside forward and autograd.grad alone

Contestants alternate in one run; the clock is this process's processor time, on one thread.
Minima, medians, and the median of the ratios of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import pertcore as pc
from bench.machine import machine_facts

BATCH, STEPS, EPS = 128, 5, 8 / 255
TARGET = 1.05
Run = Callable[[], Any]


def data() -> Path:
    return Path(os.environ.get("PERTCORE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def resnet20() -> torch.nn.Module:
    if "torchvision" not in sys.modules:
        stand_in, inner = ModuleType("torchvision"), ModuleType("torchvision.ops")
        inner.roi_align, stand_in.ops = None, inner  # type: ignore[attr-defined]
        sys.modules |= {"torchvision": stand_in, "torchvision.ops": inner}
    from onnx2torch import convert

    return convert(str(data() / "models" / "cifar10_resnet20.onnx")).eval()


def images() -> tuple[np.ndarray, np.ndarray]:
    held = np.load(data() / "datasets" / "cifar10_test5k.npz")
    x = held["x"][:BATCH].transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.ascontiguousarray(x), held["y"][:BATCH].astype(np.int64)


def by_hand(module: Any, x: np.ndarray, y: np.ndarray) -> Run:
    clean, labels = torch.from_numpy(x), torch.from_numpy(y)
    others = torch.nn.functional.one_hot(labels, 10).bool()

    def run() -> torch.Tensor:
        point = clean
        for _ in range(STEPS):
            leaf = point.detach().requires_grad_()
            score = module(leaf)
            best = score.masked_fill(others, -torch.inf).amax(1)
            margin = score.gather(1, labels[:, None])[:, 0] - best
            gradient = torch.autograd.grad(margin.sum(), leaf)[0]
            point = point - EPS / 4 * gradient.sign()
            point = (clean + (point - clean).clamp(-EPS, EPS)).clamp(0, 1)
        return point

    return run


def by_adapter(oracle: Any, x: np.ndarray, y: np.ndarray) -> Run:
    rows = np.arange(len(x))
    lo, hi = np.maximum(x - np.float32(EPS), 0), np.minimum(x + np.float32(EPS), 1)
    step = np.float32(EPS / 4)

    def run() -> np.ndarray:
        point = x
        for _ in range(STEPS):
            lin = oracle.linearize(point)
            score = lin.value.copy()
            score[rows, y] = -np.inf
            v = np.zeros_like(score)
            v[rows, score.argmax(1)] = -1
            v[rows, y] = 1
            point = np.clip(point - step * np.sign(lin.vjp(v)), lo, hi)
        return point

    return run


def whole(oracle: Any, x: np.ndarray) -> Run:
    """PGD from x with a loss that no image ends by reaching: a regression never leaves early."""
    targets = np.zeros((len(x), 10), np.float32)

    def run() -> Any:
        return pc.attack(
            oracle, x, targets, attack="pgd", task="regression", eps=EPS, bounds=(0, 1),
            steps=STEPS, threshold=1e30,
        )  # fmt: skip

    return run


def squared_by_hand(module: Any, x: np.ndarray) -> Run:
    """What `whole` makes the model do: two runs of checks, STEPS gradients, one verification, and
    on 4 images a gradient and its difference quotient."""
    clean = torch.from_numpy(x)

    def gradient(point: torch.Tensor) -> torch.Tensor:
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(module(leaf).square().sum(), leaf)[0]

    def run() -> torch.Tensor:
        point = clean
        with torch.no_grad():
            module(clean)
            module(clean[:8])
        for _ in range(STEPS):
            point = point + EPS / 4 * gradient(point).sign()
            point = (clean + (point - clean).clamp(-EPS, EPS)).clamp(0, 1)
        gradient(clean[:4])
        with torch.no_grad():
            module(point)
            module(clean[:4])
            module(clean[:4])
        return point

    return run


def parts(module: Any, oracle: Any, x: np.ndarray) -> tuple[Run, Run]:
    given, v = torch.from_numpy(x), np.ones((len(x), 10), np.float32)
    cotangent = torch.from_numpy(v)

    def hand() -> torch.Tensor:
        leaf = given.detach().requires_grad_()
        return torch.autograd.grad(module(leaf), leaf, cotangent)[0]

    return hand, lambda: oracle.linearize(x).vjp(v)


def alternate(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for number in range(rounds):
        names = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in names:
            started = time.process_time()
            runs[name]()
            times[name].append(time.process_time() - started)
    return times


def compared(times: dict[str, list[float]], ours: str, theirs: str) -> dict[str, float]:
    ratios = [a / b for a, b in zip(times[ours], times[theirs])]
    return {
        "of_minima": min(times[ours]) / min(times[theirs]),
        "of_medians": statistics.median(times[ours]) / statistics.median(times[theirs]),
        "median_of_rounds": statistics.median(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("bench/results/torch_adapter.json"))
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    module, (x, y) = resnet20(), images()
    oracle = pc.from_torch(module, input_shape=x.shape[1:])
    hand, ours = by_hand(module, x, y), by_adapter(oracle, x, y)
    apart = float(np.mean(np.abs(hand().numpy() - ours()) > 1e-6))
    forward, products = parts(module, oracle, x)
    runs = {
        "hand": hand, "adapter": ours, "gradient by hand": forward, "gradient": products,
        "squared by hand": squared_by_hand(module, x), "attack": whole(oracle, x),
    }  # fmt: skip
    times = alternate(runs, arguments.rounds)
    pairs = {"adapter": "hand", "gradient": "gradient by hand", "attack": "squared by hand"}
    ratios = {name: compared(times, name, other) for name, other in pairs.items()}
    report = {
        "machine": machine_facts(), "batch": BATCH, "steps": STEPS, "rounds": arguments.rounds,
        "entries_that_differ": apart, "seconds": times, "ratios": ratios, "target": TARGET,
    }  # fmt: skip
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, ratio in ratios.items():
        print(f"{name:9s} over {pairs[name]:16s}", {k: round(v, 3) for k, v in ratio.items()})
    print(f"target {TARGET}; entries of the two x_adv that differ: {apart:.4%}")


if __name__ == "__main__":
    main()
