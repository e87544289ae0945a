"""Fig. 4: output PSNR of a regression against the PSNR of its perturbed input, without labels.

The perturbations keep to the ball alone, as the paper's: no box. Input PSNR is that of the
perturbation itself, so an attack that leaves a part of its budget unused has a larger one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.paper.subjects import Subject, subject

ATTACKS: dict[str, dict[str, Any]] = {
    "random": {"attack": "random"},
    "linear-1": {"attack": "linear", "steps": 1},
    "linear-20": {"attack": "linear", "steps": 20},
    "quadratic": {"attack": "quadratic", "method": "paper", "certify": False},
    "quadratic, best": {"attack": "quadratic", "certify": False},
    "iterated-quadratic-20": {"attack": "iterated-quadratic", "steps": 20},
}
PIXELS: dict[str, dict[str, Any]] = {
    "random-pixel-1": {"attack": "random-pixel", "steps": 1},
    "linear-pixel-1": {"attack": "pixel", "steps": 1},
    "quadratic-pixel-1": {"attack": "quadratic-subset", "method": "paper"},
    "random-pixel-100": {"attack": "random-pixel", "steps": 100},
    "linear-pixel-100": {"attack": "pixel", "steps": 100},
}
BATCH = 32


def measured(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A row an attack and level of the first `samples`; `levels` are root mean squares of a whole
    perturbation, or eps where pixels are changed."""
    held = subject(settings["network"], settings["samples"], folder, settings.get("side", 96))
    rows = []
    for name in settings["attacks"]:
        for level in settings["levels"]:
            rows.append({"attack": name, **point(held, name, level, float(settings["norm"]))})
            print(line(rows[-1]), flush=True)
    found = {"network": held.told, "rows": rows, "inputs": held.x[0].size}
    if "boxed" in settings:
        found["boxed"] = [
            {
                "attack": name,
                **point(held, name, settings["boxed"], float(settings["norm"]), bounds=(0, 1)),
            }
            for name in settings["attacks"]
        ]
    return found


def point(held: Subject, name: str, level: float, norm: float, **box: Any) -> dict[str, Any]:
    """Mean PSNRs, half the width of Student's 95 % interval, and the MSE of every sample."""
    pixels = name in PIXELS
    eps = level if pixels or math.isinf(norm) else level * math.sqrt(held.x[0].size)
    result = attacked(held, name, eps, norm, **box)
    inside, outside = (result.metrics[f"psnr_{side}"] for side in ("in", "out"))
    # An attack that changes nothing has no finite PSNR: it is counted, not averaged.
    kept = np.isfinite(inside) & np.isfinite(outside)
    return {
        "eps": eps, "psnr_in": _mean(inside[kept]), "psnr_out": _mean(outside[kept]),
        "half": _half(outside[kept]), "unchanged": int(np.count_nonzero(~kept)),
        "seconds": round(result.seconds, 2),
        "mse": [float(f"{value:.5g}") for value in result.metrics["mse"]],
    }  # fmt: skip


def attacked(held: Subject, name: str, eps: float, norm: float, **box: Any) -> Any:
    """The result of one attack of ATTACKS or PIXELS."""
    settings = dict(PIXELS[name] if name in PIXELS else ATTACKS[name])
    if name in PIXELS:
        settings["partition"] = "pixels"
    return pc.attack(
        held.oracle, held.x, eps=eps, norm=norm, task="regression", batch_size=BATCH,
        **settings, **box,
    )  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _half(values: np.ndarray) -> float | None:
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else None


def line(row: dict[str, Any]) -> str:
    psnr = [f"{row[k]:.2f}" if row[k] is not None else "none" for k in ("psnr_in", "psnr_out")]
    return (
        f"{row['attack']:<24} eps {row['eps']:.4g}  input {psnr[0]} dB  output {psnr[1]} dB  "
        f"{row['seconds']:.1f} s"
    )
