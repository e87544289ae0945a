"""PGD end to end on a device, beside the same loop in PyTorch and in Foolbox; `bench.gpu` runs it.

Every contestant begins at a random point of the ball, takes the sign of the gradient of the
cross-entropy times the same step, and projects on ball and box. Samples of pertcore leave the batch
as they are fooled; the others' stay.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

import pertcore as pc
from bench.models import cifar, digits

EPS, STEPS, SAMPLES, ROUNDS = 8 / 255, 40, 512, 5
STEP = 2.5 * EPS / STEPS
CUDA = "CUDAExecutionProvider"
Contestant = Callable[[], Any]


def problem(samples: int) -> tuple[Path, np.ndarray, np.ndarray]:
    """ResNet-20 and CIFAR-10 where the data folder is, else the digits."""
    return cifar(samples) or digits(samples)


def measure_attacks(
    arrays: Any, samples: int = SAMPLES, steps: int = STEPS, device: str = "cuda"
) -> dict[str, Any]:
    """Images a second of every contestant that is installed, in turns; `arrays` is CuPy."""
    path, x, y = problem(samples)
    contestants = {
        "pertcore, ONNX Runtime CUDA": ours(path, arrays.asarray(x), y, steps, [CUDA]),
        "pertcore, ONNX Runtime CPU": ours(path, x, y, steps, None),
        **in_torch(path, x, y, steps, device),
    }
    fooled = {who: run() for who, run in contestants.items()}
    times: dict[str, list[float]] = {who: [] for who in contestants}
    for _ in range(ROUNDS):
        for who, run in contestants.items():
            started = time.perf_counter()
            run()
            times[who].append(time.perf_counter() - started)
    rows = [
        {"who": who, "images_per_s": samples / statistics.median(held), "fooled": fooled[who]}
        for who, held in times.items()
    ]
    return {"model": path.name, "samples": samples, "steps": steps, "rows": rows}


def ours(path: Path, x: Any, y: np.ndarray, steps: int, providers: Any) -> Contestant:
    """pc.attack; the share that is fooled. Its answer is checked on the model in the time."""
    oracle = pc.from_onnx(path, providers=providers)

    def run() -> float:
        found = pc.attack(
            oracle, x, y, attack="pgd", eps=EPS, bounds=(0, 1), steps=steps, step_size=STEP
        )
        return float(np.mean(found.after != y))

    return run


def as_module(path: Path) -> Any:
    """The file as a PyTorch module; torchvision, which onnx2torch takes for two operators that are
    not used here, stays out where it is absent."""
    outer, inner = ModuleType("torchvision"), ModuleType("torchvision.ops")
    vars(inner)["roi_align"], vars(outer)["ops"] = None, inner
    absent = importlib.util.find_spec("torchvision") is None
    stand_ins = {"torchvision": outer, "torchvision.ops": inner} if absent else {}
    with patch.dict(sys.modules, stand_ins):
        from onnx2torch import convert
    return convert(str(path))


def in_torch(
    path: Path, x: np.ndarray, y: np.ndarray, steps: int, device: str
) -> dict[str, Contestant]:
    """The loop by hand, eager and as a CUDA graph, and Foolbox's; nothing without PyTorch."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnx2torch") is None:
        return {}
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return {}
    module = as_module(path).eval().to(device)
    images, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    start = (images + (torch.rand_like(images) * 2 - 1) * EPS).clamp(0, 1)

    def judged(points: Any) -> float:
        with torch.no_grad():
            return float((module(points).argmax(1) != labels).float().mean())

    def step(points: Any) -> Any:
        held = points.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(module(held), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, held)
        moved = held.detach() + STEP * gradient.sign()
        return torch.clamp(torch.min(torch.max(moved, images - EPS), images + EPS), 0, 1)

    def eager() -> float:
        points = start
        for _ in range(steps):
            points = step(points)
        return judged(points)

    found: dict[str, Contestant] = {"PyTorch, eager": eager}
    if device == "cuda":
        found["PyTorch, CUDA graph"] = _graphed(torch, step, start, steps, judged)
    if importlib.util.find_spec("foolbox") is not None:
        found["Foolbox"] = _foolbox(module, images, labels, steps, device, judged)
    return found


def _graphed(torch: Any, step: Any, start: Any, steps: int, judged: Any) -> Contestant:
    """One step recorded once and replayed."""
    held = start.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            held.copy_(step(held))
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held.copy_(step(held))

    def run() -> float:
        held.copy_(start)
        for _ in range(steps):
            graph.replay()
        return float(judged(held))

    return run


def _foolbox(module: Any, images: Any, labels: Any, steps: int, device: str, judged: Any) -> Any:
    import foolbox

    model = foolbox.PyTorchModel(module, bounds=(0, 1), device=device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=steps, random_start=True)
    return lambda: float(judged(attack(model, images, labels, epsilons=EPS)[1]))
