"""How strong the attacks are: fooling ratios of every attack, and DeepFool against bisection.

Run `python -m bench.strength [--out FILE] [--samples N]`. The smallest eps is bisected per sample
with PGD-40 of five restarts and Algorithm 1-10, whichever fools; DeepFool's median norm is set
against it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.models import cifar, digits
from pertcore.attacks.registry import ATTACKS

HALVINGS = 9


def table(oracle: Any, x: np.ndarray, y: np.ndarray, eps: float) -> list[dict[str, Any]]:
    """A row an attack at one linf budget: fooling ratio, model runs and seconds."""
    rows = []
    for name, attack in ATTACKS.items():
        result = attack(oracle, x, y, eps=eps, bounds=(0, 1), batch_size=256)
        summary = result.summary()
        rows.append(
            {
                "attack": name,
                "fooling ratio": summary["fooling ratio"],
                "median norm": summary["median norm of the fooled"],
                "forward": summary["forward per sample"],
                "backward": summary["backward per sample"],
                "seconds": result.seconds,
            }
        )
        print(json.dumps(rows[-1]))
    return rows


def smallest_eps(oracle: Any, x: np.ndarray, y: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Per-sample bisection between 0 and a budget (n,) that is known to fool."""
    low, high = np.zeros(len(x)), start.copy()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fooled = np.zeros(len(x), dtype=bool)
        for name, options in (("alg1", {"steps": 10}), ("pgd", {"steps": 40, "restarts": 5})):
            left = np.flatnonzero(~fooled)
            if len(left):
                result = ATTACKS[name](
                    oracle, x[left], y[left], eps=middle[left], bounds=(0, 1), batch_size=256,
                    **options,
                )  # fmt: skip
                fooled[left] = result.success
        high, low = np.where(fooled, middle, high), np.where(fooled, low, middle)
    return high


def deepfool_gap(oracle: Any, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    result = ATTACKS["deepfool"](oracle, x, y, bounds=(0, 1), batch_size=256)
    kept = result.success
    best = smallest_eps(oracle, x[kept], y[kept], 1.05 * result.norms[kept])
    return {
        "deepfool success": float(kept[result.attackable].mean()),
        "deepfool median": float(np.median(result.norms[kept])),
        "bisected median": float(np.median(best)),
        "ratio of medians": float(np.median(result.norms[kept]) / np.median(best)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--samples", type=int, nargs=2, default=(1000, 500))
    parser.add_argument("--gap-samples", type=int, nargs=2, default=(256, 64))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    report: dict[str, Any] = {"machine": machine_facts()}
    loaders = ((digits, 0.1), (cifar, 2 / 255))
    for (load, eps), count, few in zip(loaders, arguments.samples, arguments.gap_samples):
        job = load(count)
        if job is None:
            continue
        path, x, y = job
        oracle = pc.from_onnx(path)
        print(path.name)
        gap = deepfool_gap(oracle, x[:few], y[:few])
        print(json.dumps(gap))
        rows = table(oracle, x, y, eps)
        report[path.name] = {"eps": eps, "samples": len(x), "attacks": rows, "deepfool": gap}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
