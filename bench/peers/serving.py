"""The far side: a library's process, which reads requests as lines of JSON and answers so."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.peers.counted import Counted, counted

Rows = np.ndarray
# Seconds after which a projection is not repeated again.
PATIENCE = 3


@dataclass(frozen=True)
class Task:
    """One attack: `norm` is 0, 1, 2 or inf; `eps` None for a smallest perturbation."""

    model: Counted
    norm: float
    eps: float | None
    seed: int
    options: dict[str, Any]

    @property
    def linf(self) -> bool:
        return math.isinf(self.norm)


# (task, x (n, *sample), y (n,)) -> x_adv
Attack = Callable[[Task, torch.Tensor, torch.Tensor], torch.Tensor]
# (rows (n, d), radius) -> the projections on the l1 ball
Projection = Callable[[Rows, float], Any]
# (request, x, y) -> x_adv, and what adds up over batches: "forward" and "backward" runs
Attempt = Callable[[dict[str, Any], Rows, Rows], tuple[Rows, dict[str, float]]]


def serve(attempt: Attempt, projections: dict[str, Projection]) -> None:
    """Answers requests until the input ends; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        torch.set_num_threads(request["threads"])
        if request["attack"] == "project":
            found = _projected(projections[request["name"]], request)
        else:
            found = _attacked(attempt, request)
        answers.write(json.dumps(found) + "\n")


def torch_attempt(attacks: dict[str, Attack]) -> Attempt:
    """Attacks of a PyTorch library as what `serve` calls; models are loaded once."""
    models: dict[str, Counted] = {}

    def attempt(request: dict[str, Any], x: Rows, y: Rows) -> tuple[Rows, dict[str, float]]:
        file = request["model"]
        if file not in models:
            models[file] = counted(Path(file))
        model = models[file]
        before = model.forward_runs, model.backward_runs
        eps = request["eps"]
        task = Task(model, float(request["norm"]), eps, request["seed"], request["options"])
        torch.manual_seed(request["seed"])
        np.random.seed(request["seed"])  # ART draws from the global generator
        found = attacks[request["attack"]](task, torch.from_numpy(x), torch.from_numpy(y))
        forward, backward = model.forward_runs - before[0], model.backward_runs - before[1]
        return found.detach().numpy(), {"forward": forward, "backward": backward}

    return attempt


def _attacked(attempt: Attempt, request: dict[str, Any]) -> dict[str, Any]:
    with np.load(request["points"]) as held:
        x, y = held["x"][: request["samples"]], held["y"][: request["samples"]]
    parts, total = [], Counter[str]()
    wall, processor = time.perf_counter(), time.process_time()
    for begin in range(0, len(x), request["batch"]):
        rows = slice(begin, begin + request["batch"])
        part, spent = attempt(request, x[rows], y[rows])
        parts.append(part)
        total.update(spent)
    seconds = {
        "seconds": time.perf_counter() - wall,
        "processor seconds": time.process_time() - processor,
    }
    np.savez(request["out"], x_adv=np.concatenate(parts))
    return {**seconds, **total}


def _projected(project: Projection, request: dict[str, Any]) -> dict[str, Any]:
    with np.load(request["points"]) as held:
        rows = held["x"]
    times = []
    for _ in range(request["repeats"]):
        given = rows.copy()
        started = time.process_time()
        found = project(given, request["eps"])
        times.append(time.process_time() - started)
        if sum(times) > PATIENCE:
            break
    np.savez(request["out"], x_adv=np.asarray(found))
    return {"processor seconds": min(times), "all": times}
