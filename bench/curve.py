"""A curve of 20 budgets against separate attacks: what it costs and what it misses.

Run `python -m bench.curve [--samples N] [--out FILE]` where the data folder is (bench.models).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.models import cifar
from pertcore.errors import PertcoreWarning
from pertcore.oracle import Calls

ROOT = Path(__file__).resolve().parent.parent
SETTINGS: dict[str, Any] = {"attack": "alg1", "steps": 10, "bounds": (0, 1), "batch_size": 100}
GRIDS = {"to 2/255": np.linspace(0.1, 2, 20) / 255, "to 8/255": np.linspace(0.4, 8, 20) / 255}


def units(calls: Calls, samples: int) -> float:
    """A unit is a forward and a backward run of one sample."""
    return (calls.f + calls.vjp) / (2 * samples)


def measured(model: Any, x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> dict[str, Any]:
    """Robust accuracy, units and seconds of the curve and of an attack at each budget."""
    found = pc.curve(model, x, y, eps=grid, **SETTINGS)
    rows = []
    for eps in grid:
        started = time.perf_counter()
        r = pc.attack(model, x, y, eps=eps, **SETTINGS)
        rows.append(
            {"eps": eps, "robust accuracy": r.robust_accuracy, "units": units(r.calls, len(x)),
             "seconds": time.perf_counter() - started}
        )  # fmt: skip
    curve, separate = found.robust_accuracy, np.array([row["robust accuracy"] for row in rows])
    cost = units(found.calls, len(x))
    each = [row["units"] for row in rows]
    return {
        "curve": curve.tolist(), "separate": rows, "units": cost, "seconds": found.seconds,
        "rounds": found.rounds, "times the dearest single attack": cost / max(each),
        "times the mean single attack": cost / float(np.mean(each)),
        "times the attack at the largest eps": cost / each[-1],
        "never rises": bool(np.all(np.diff(curve) <= 0)),
        "most above separate, points": float(100 * np.max(curve - separate)),
        "most below separate, points": float(100 * np.max(separate - curve)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "curve.json")
    options = parser.parse_args()
    held = cifar(options.samples)
    if held is None:
        raise SystemExit("the data folder is missing: set PERTCORE_DATA")
    path, x, y = held
    warnings.simplefilter("ignore", PertcoreWarning)
    model = pc.from_onnx(path)
    rows = {}
    for name, grid in GRIDS.items():
        rows[name] = measured(model, x, y, grid)
        said = {k: v for k, v in rows[name].items() if k not in ("curve", "separate")}
        print(name, json.dumps(said, indent=1))
    found = {"samples": len(x), "settings": SETTINGS, "grids": rows, "machine": machine_facts()}
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
