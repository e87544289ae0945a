"""Table I, what each closed form reaches of its problem's optimum, and Table II, known attacks as
Algorithm 1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.paper.subjects import Subject, subject

BATCH = 64


def solutions(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Table I on an autoencoder, y = x: the smallest share of the optimum over the samples.

    Of the linear problems (15) and (21) the optimum is known, eps norm_q(g) and the largest sum of
    abs(g) over a pixel; of the quadratic (12) and (17) it is at most the certified bound.
    """
    held, eps = subject(settings["network"], settings["samples"], folder), settings["eps"]
    g = slope(held)
    pixels = np.abs(g).reshape(len(g), held.x.shape[1], -1).sum(axis=1).max(axis=1)
    two, sup = eps * math.sqrt(held.x[0].size), eps
    lin = {"attack": "linear", "steps": 1, "dither": 0.0}
    rows = [
        ("l2", "(12)", "(13)", True, quadratic(held, "quadratic", two, 2)),
        ("l2", "(15)", "(5)", True, linear(held, g, two * np.linalg.norm(g, axis=1),
                                           eps=two, norm=2, **lin)),
        ("linf", "(12)", "(20)", False, quadratic(held, "quadratic", sup, "inf", method="paper")),
        ("linf", "(12)", "signs", False, quadratic(held, "quadratic", sup, "inf")),
        ("linf", "(15)", "(6)", True, linear(held, g, sup * np.abs(g).sum(axis=1),
                                             eps=sup, norm="inf", **lin)),
        ("one pixel", "(17)", "(20)", False, quadratic(held, "quadratic-subset", sup, "inf",
                                                       method="paper", partition="pixels")),
        ("one pixel", "(21)", "(22)", True, linear(held, g, sup * pixels, eps=sup, norm="inf",
                                                   attack="subset", partition="pixels",
                                                   dither=0.0, loss="squared_error")),
    ]  # fmt: skip
    names = ("constraint", "problem", "solution", "exact", "reached")
    return {"network": held.told, "rows": [dict(zip(names, row, strict=True)) for row in rows]}


def slope(held: Subject) -> np.ndarray:
    """The gradient (n, d) of norm_2(f(x) - x)^2 in f's argument, float64."""
    at = held.oracle.linearize(held.x)
    g = at.vjp(2 * (at.value - held.x).astype(held.x.dtype))
    return g.reshape(len(held.x), -1).astype(np.float64)


def linear(held: Subject, g: np.ndarray, optimum: np.ndarray, **settings: Any) -> float:
    """The smallest share of the optimum that g . delta reaches."""
    r = pc.attack(
        held.oracle, held.x, held.x.copy(), task="regression", batch_size=BATCH, **settings
    )
    reached = np.sum(g * r.delta.reshape(len(g), -1), axis=1)
    return float(np.min(reached / optimum))


def quadratic(held: Subject, attack: str, eps: float, norm: Any, **settings: Any) -> float:
    """The smallest share of the certified bound, without labels; the method as printed has no bound
    of its own."""
    common: dict[str, Any] = {
        "attack": attack, "task": "regression", "eps": eps, "norm": norm, "batch_size": BATCH,
    }  # fmt: skip
    run = pc.attack(held.oracle, held.x, **common, **settings)
    bound = pc.attack(held.oracle, held.x, **common, **{**settings, "method": "best"})
    return float(np.min(run.certificate.value / bound.certificate.upper))


# Attack of Table II -> its pertcore name and options, and the same of Algorithm 1 where Table II's
# columns say it in its options; "dither" is a share of eps.
KNOWN: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "FGSM": ({"attack": "fgsm"}, {"steps": 1, "loss": "cross_entropy"}),
    "R-FGSM": (
        {"attack": "rfgsm-dithered"}, {"steps": 1, "loss": "cross_entropy", "dither": 0.5}
    ),
    "BIM": ({"attack": "bim", "steps": 10}, {"steps": 10, "loss": "cross_entropy"}),
    "PGD": ({"attack": "pgd-dithered", "steps": 10}, None),
    "DeepFool": ({"attack": "deepfool", "refine": 0, "norm": 2}, None),
    "Ensemble": (
        {"attack": "ensemble", "steps": 1}, {"steps": 1, "loss": "cross_entropy", "dither": 0.5}
    ),
    "Targeted": ({"attack": "alg1", "targeted": True, "steps": 10}, None),
    "Algorithm 1": ({"attack": "alg1", "steps": 10}, None),
}  # fmt: skip


def special_cases(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Table II: whom each attack fools at one eps, and by how much its examples differ from those
    of Algorithm 1 in that setting. Targets are the next class; DeepFool has no budget."""
    held, eps = subject(settings["network"], settings["samples"], folder), settings["eps"]
    rows = []
    for name, (options, same) in KNOWN.items():
        y = (held.y + 1) % 10 if options.get("targeted") else held.y
        r = known(held, y, options, eps)
        apart = None
        if same is not None:
            twin = known(held, y, {"attack": "alg1", **same}, eps)
            apart = float(np.abs(twin.x_adv - r.x_adv).max())
        rows.append({
            "attack": name, "settings": options, "fooled": int(r.success.sum()),
            "of": int(r.attackable.sum()), "difference": apart,
        })  # fmt: skip
    return {"network": held.told, "rows": rows}


def known(held: Subject, y: np.ndarray, options: dict[str, Any], eps: float) -> Any:
    given = {"norm": "inf", **options}
    if "dither" in given:
        given["dither"] *= eps
    budget = None if given["attack"] == "deepfool" else eps
    return pc.attack(held.oracle, held.x, y, eps=budget, batch_size=1000, **given)
