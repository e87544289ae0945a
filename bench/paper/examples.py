"""Fig. 2 and Fig. 3: pictures before and after, and what the networks make of them."""

from __future__ import annotations

import base64
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.paper import regressions
from bench.paper.subjects import Subject, subject

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def fooled(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fig. 2: of every network of `networks` (name -> eps) the first `shown` images of different
    classes that Algorithm 1 with T = 5 fools, inside the box, since they are to be looked at."""
    return {"panels": [
        _panel(name, eps, settings, folder) for name, eps in settings["networks"].items()
    ]}  # fmt: skip


def _panel(name: str, eps: float, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    held = subject(name, settings["samples"], folder)
    r = pc.attack(
        held.oracle, held.x, held.y, attack="alg1", steps=5, norm="inf", eps=eps, bounds=(0, 1)
    )
    _, first = np.unique(np.where(r.success, r.before, -1), return_index=True)
    rows = [i for i in sorted(first) if r.success[i]][: settings["shown"]]
    return {
        "network": name, "eps": eps, "of": len(held.x), "fooled": int(r.success.sum()),
        "x": packed(held.x[rows]), "x_adv": packed(r.x_adv[rows]),
        "before": r.before[rows].tolist(), "after": r.after[rows].tolist(),
    }  # fmt: skip


def restored(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fig. 3: `shown` samples as they are, beside a random and an adversarial perturbation of the
    same budget, and what the network makes of each; random signs, or random pixels."""
    held = subject(settings["network"], settings["shown"], folder)
    eps, norm = settings["eps"], float(settings["norm"])
    if "psnr" in settings:  # of a perturbation that uses its whole budget
        eps = 10 ** (-settings["psnr"] / 20)
        eps *= 1 if math.isinf(norm) else math.sqrt(held.x[0].size)
    panels = [_shown(held, held.x, "original", None)]
    for name in settings["attacks"]:
        r = regressions.attacked(held, name, eps, norm)
        panels.append(_shown(held, r.x_adv, name, r.metrics))
    return {"network": held.told, "eps": eps, "panels": panels}


def _shown(held: Subject, x: np.ndarray, name: str, metrics: Any) -> dict[str, Any]:
    told = {} if metrics is None else {
        f"psnr_{side}": float(np.mean(metrics[f"psnr_{side}"])) for side in ("in", "out")
    }  # fmt: skip
    return {"name": name, "x": packed(x), "f": packed(held.oracle(x)), **told}


def packed(x: np.ndarray) -> dict[str, Any]:
    """Images in [0, 1], clipped to it, as bytes that JSON can hold."""
    levels = np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)
    text = base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode()
    return {"shape": list(x.shape), "zlib base64": text}


def unpacked(held: dict[str, Any]) -> np.ndarray:
    """uint8 images of that shape."""
    raw = zlib.decompress(base64.b64decode(held["zlib base64"]))
    return np.frombuffer(raw, np.uint8).reshape(held["shape"])
