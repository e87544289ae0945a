"""The portfolio against AutoAttack's parts run long: who is left standing, and at what cost.

Run `python -m bench.portfolio [--out FILE] [--samples N]`. The reference is our own apgd with
cross-entropy (100 steps), apgd-t (9 classes, 100 steps each) and square (5000 runs), survivors
alone going on, as in Croce and Hein 2020. Its FAB-T part is left out, which makes it cheaper than
AutoAttack, so the ratio of passes is on the safe side; its robust accuracy may be too high. Our
samples leave a run once fooled, AutoAttack's leave between its parts: both counts are given.
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
from bench.models import cifar, data_folder, digits

REFERENCE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("apgd", {"steps": 100}),
    ("apgd-t", {"steps": 100, "classes": 9}),
    ("square", {"steps": 5000}),
)
JOBS = (
    ("mnist_lenet5_cln", digits, 0.1, "inf"),
    ("mnist_wongkolter_0.1", digits, 0.1, "inf"),
    ("mnist_colt_0.1", digits, 0.1, "inf"),
    ("cifar10_wongkolter_l2_36px", cifar, 36 / 255, 2),
    ("cifar10_resnet20", cifar, 2 / 255, "inf"),
    ("cifar10_resnet20", cifar, 8 / 255, "inf"),
)


def reference(oracle: Any, x: np.ndarray, y: np.ndarray, **settings: Any) -> dict[str, Any]:
    """Robust accuracy of the worst case over the parts, and passes a sample."""
    left, clean, before, parts = np.arange(len(x)), None, oracle.calls.copy(), {}
    nominal = len(x)
    for name, options in REFERENCE:
        if not len(left):
            break
        result = pc.attack(oracle, x[left], y[left], attack=name, **settings, **options)
        entered = int(np.count_nonzero(result.attackable))
        gradient = 2 * options["steps"] * options.get("classes", 1) * entered
        nominal += gradient if result.calls.vjp else result.calls.f
        left = left[result.attackable & ~result.success]
        parts[name] = len(left) / len(x)
        clean = clean if clean is not None else float(np.mean(result.attackable))
    calls = oracle.calls - before
    passes = (calls.f + calls.vjp) / len(x)
    return {
        "clean": clean,
        "robust": len(left) / len(x),
        "left after": parts,
        "passes": passes,
        "nominal": nominal / len(x),
    }


def row(name: str, load: Any, eps: float, norm: Any, count: int) -> dict[str, Any]:
    """One model at one budget, both ways."""
    held = load(count)
    if held is None:
        return {"model": name, "skipped": "no data"}
    path, x, y = held
    oracle = pc.from_onnx(path.with_name(f"{name}.onnx"))
    settings = {"eps": eps, "norm": norm, "bounds": (0, 1), "batch_size": 128}
    ours = pc.attack(oracle, x, y, attack="portfolio", **settings)
    long = reference(oracle, x, y, **settings)
    passes = (ours.calls.f + ours.calls.vjp) / len(x)
    return {
        "model": name, "eps": eps, "norm": str(norm), "samples": len(x),
        "clean accuracy": long["clean"], "portfolio robust": ours.robust_accuracy,
        "reference robust": long["robust"], "portfolio passes": passes,
        "reference passes": long["passes"], "share of passes": passes / long["passes"],
        "reference passes if none leave a run": long["nominal"],
        "share of those": passes / long["nominal"],
        "reference left after": long["left after"], "seconds": ours.seconds,
        "stages": {stage.name: str(stage) for stage in ours.stages},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    if data_folder() is None:
        raise SystemExit("bench.portfolio needs the models of PERTCORE_DATA")
    rows = []
    for job in JOBS:
        rows.append(row(*job, arguments.samples))
        print(json.dumps(rows[-1]), flush=True)
        if arguments.out is not None:
            report = {"machine": machine_facts(), "rows": rows}
            arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
