"""What an attack costs beside the bare model: alg1-10 against ten forward-and-backward passes.

Run `python -m bench.attacks [--out FILE]`. Contestants alternate (A B A B ...) and the medians'
ratio is printed; the limit is 1, the model's own time. With eps 1e-6 nobody leaves early.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.models import cifar, digits

STEPS = 10


def seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def alternating(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in every round, one warm-up round before."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def bare_loop(oracle: Any, x: np.ndarray) -> None:
    """Ten times forward and backward through the same sessions, and nothing else."""
    cotangent = np.ones((len(x), *oracle.output_shape), dtype=oracle.dtype)
    for _ in range(STEPS):
        oracle.linearize(x).vjp(cotangent)


def compare(path: Path, x: np.ndarray, y: np.ndarray, threads: int, rounds: int) -> dict[str, Any]:
    oracle = pc.from_onnx(path, threads=threads)
    settings = {"attack": "alg1", "steps": STEPS, "norm": "inf", "bounds": (0, 1)}
    runs = {
        "bare": lambda: bare_loop(oracle, x),
        "alg1 eps=1e-6": lambda: pc.attack(oracle, x, y, eps=1e-6, **settings),
        "verification": lambda: oracle(x),
        "alg1 eps=0.1": lambda: pc.attack(oracle, x, y, eps=0.1, **settings),
    }
    times = alternating(runs, rounds)
    middle = {name: statistics.median(values) for name, values in times.items()}
    net = middle["alg1 eps=1e-6"] - middle["verification"]
    return {
        "model": path.name, "samples": len(x), "threads": threads, "rounds": rounds,
        "seconds": middle,
        "spread": {name: [min(v), max(v)] for name, v in times.items()},
        "ratio, nobody leaves, verification excluded": net / middle["bare"],
        "ratio, nobody leaves, everything included": middle["alg1 eps=1e-6"] / middle["bare"],
        "ratio, eps=0.1, everything included": middle["alg1 eps=0.1"] / middle["bare"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    jobs = [digits(512), cifar(128)]
    rows = [
        compare(*job, threads=threads, rounds=arguments.rounds)
        for job in jobs if job is not None for threads in (1, 2)
    ]  # fmt: skip
    report = {"machine": machine_facts(), "rows": rows}
    for row in rows:
        print(json.dumps(row, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
