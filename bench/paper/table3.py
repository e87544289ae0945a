"""Table III: rho1, rho2 and eps99 of the MNIST classifiers, ours beside the printed values.

The network 784-150-100-10 is fitted in three ways, since the paper does not say how it did.

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
CELLS = (*((name, "one-cycle") for name in NETWORKS), ("fcnn", "adam"), ("fcnn", "adam-decay"))


def measured(path: Path, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The measures of one network on all samples, by DeepFool as the paper ran it: p = inf, at most
    50 steps; and, "refined", by the rounds towards a nearer point that are pertcore's default."""
    model, settings = pc.from_onnx(path), {"attack": "deepfool", "norm": "inf", "steps": 50}
    r = pc.robustness(model, x, y, refine=0, batch_size=1000, **settings)
    nearer = pc.robustness(model, x, y, batch_size=1000, **settings)
    return {
        "test error": 1 - float(r.attackable.mean()), "rho1": r.rho1, "rho2": r.rho2,
        "eps99": r.eps99, "rho1 refined": nearer.rho1, "eps99 refined": nearer.eps99,
        "not fooled": int(np.isinf(r.norms[r.attackable]).sum()),
        "seconds": r.seconds + nearer.seconds, "warnings": list(r.warnings),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--models", type=Path, default=ROOT / ".paper")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "table3.json")
    options = parser.parse_args()
    x, y = (part[: options.samples] for part in mnist("test"))
    rows = {
        f"{name}, {recipe}": measured(trained(name, options.models, recipe), x, y)
        for name, recipe in CELLS
    }
    for cell, found in rows.items():
        for figure, printed in PRINTED[cell.partition(",")[0]].items():
            ratio = found[figure] / printed
            print(f"{cell:<18} {figure:<11} {found[figure]:.4f}  printed {printed}  {ratio:.2f}x")
    held = {"samples": len(x), "measured": rows, "printed": PRINTED, "machine": machine_facts()}
    options.out.write_text(json.dumps(held, indent=1) + "\n")


if __name__ == "__main__":
    main()
