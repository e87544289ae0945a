"""Table III: rho1, rho2 and eps99 of the MNIST classifiers, ours beside the printed values.

Run `python -m bench.paper.table3 [--samples N] [--models FOLDER] [--out FILE]`; networks that are
missing are trained first (`bench.paper.train`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.paper.train import NETWORKS, mnist, trained

ROOT = Path(__file__).resolve().parent.parent.parent
# Balda, Behboodi and Mathar, Table III.
PRINTED = {
    "fcnn": {"test error": 0.017, "rho1": 0.036, "rho2": 0.034, "eps99": 0.076},
    "lenet5": {"test error": 0.009, "rho1": 0.077, "rho2": 0.061, "eps99": 0.164},
}


def measured(path: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The measures of one network on all samples: DeepFool, p = inf, at most 50 steps."""
    model = pc.from_onnx(path)
    r = pc.robustness(model, x, y, attack="deepfool", norm="inf", steps=50, batch_size=1000)
    return {
        "test error": 1 - float(r.attackable.mean()), "rho1": r.rho1, "rho2": r.rho2,
        "eps99": r.eps99, "not fooled": int(np.isinf(r.norms[r.attackable]).sum()),
        "seconds": r.seconds, "warnings": list(r.warnings),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--models", type=Path, default=ROOT / ".paper")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "table3.json")
    options = parser.parse_args()
    x, y = (part[: options.samples] for part in mnist("test"))
    rows = {}
    for name in NETWORKS:
        rows[name] = measured(trained(name, options.models), x, y)
        for figure, printed in PRINTED[name].items():
            ratio = rows[name][figure] / printed
            print(
                f"{name:<8} {figure:<11} {rows[name][figure]:.4f}  printed {printed}  {ratio:.2f}x"
            )
    held = {"samples": len(x), "measured": rows, "printed": PRINTED, "machine": machine_facts()}
    options.out.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
