"""Fig. 1 and Table III: how the paper's attacks, and later ones, fool a classifier at p = inf.

Budgets are the paper's: no box, every attack run anew at every eps. DeepFool runs once, at most 50
steps, and stops at the first crossing; within eps it fools whom it reaches with norms up to eps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.paper.subjects import Subject, subject

STEPS = 10
# Those of the paper first; PGD as its Table II reads it and as Madry et al. wrote it.
METHODS: dict[str, dict[str, Any]] = {
    "random": {"attack": "random"},
    "FGSM": {"attack": "fgsm"},
    "Algorithm 2": {"attack": "alg2"},
    "Algorithm 1": {"attack": "alg1", "steps": 1},
    f"Algorithm 1-{STEPS}": {"attack": "alg1", "steps": STEPS},
    f"PGD-{STEPS}, Table II": {"attack": "pgd-dithered", "steps": STEPS},
    f"PGD-{STEPS}, Madry": {"attack": "pgd", "steps": STEPS},
    "APGD-50": {"attack": "apgd", "steps": 50},
}
OURS, DEEPFOOL, PORTFOLIO = f"Algorithm 1-{STEPS}", "DeepFool", "portfolio"
# Algorithm 1 otherwise: more and fewer steps, its dither, its loss; longer steps with a projection;
# the box. A dither and a size of steps are shares of eps.
BOX = {"bounds": (0, 1)}
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"Algorithm 1-{t}": {"attack": "alg1", "steps": t} for t in (1, 5, 10, 20, 50, 200)},
    "Algorithm 1-10, dither eps/10": {"attack": "alg1", "steps": 10, "dither": 0.1},
    "Algorithm 1-10, cross-entropy": {"attack": "alg1", "steps": 10, "loss": "cross_entropy"},
    "Algorithm 1-10, steps of eps/4, projected": {
        "attack": "bim", "steps": 10, "step_size": 0.25, "loss": "margin",
    },
    "PGD-10 on the margin": {"attack": "pgd", "steps": 10, "loss": "margin"},
    "Algorithm 1-10, box": {"attack": "alg1", "steps": 10, **BOX},
    "PGD-10, box": {"attack": "pgd", "steps": 10, **BOX},
    "DeepFool, box": {"attack": "deepfool", "steps": 50, "refine": 0, **BOX},
}  # fmt: skip
# Beside DeepFool within its own norms, sample by sample.
RIVALS = (f"Algorithm 1-{STEPS}", f"PGD-{STEPS}, Madry", "APGD-50")
SLACK = 1.001  # of those norms, so that a rounded norm is not too small


def measured(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Table III on the first `samples`, and on the first `shown` of them Fig. 1's curves at `eps`,
    the portfolio's at `portfolio`."""
    held = subject(settings["network"], settings["samples"], folder)
    batch = batch_of(held)
    table, norms, _ = robustness(held, batch)
    found: dict[str, Any] = {"network": held.told, "table": table}
    if not settings["eps"]:
        return found
    n = settings["shown"]
    few = Subject(held.oracle, held.x[:n], held.y[:n], held.told)
    found["right"] = int(np.count_nonzero(norms[:n] > 0))
    found["curves"] = curves(few, norms[:n], settings, batch)
    found["within DeepFool's norms"] = rivals(few, norms[:n], batch)
    return found


def robustness(held: Subject, batch: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Table III's measures by DeepFool as the paper ran it; "refined": by the rounds towards a
    nearer point that are pertcore's default. With both norms (n,), 0 where it was wrong before."""
    common: dict[str, Any] = {"attack": "deepfool", "norm": "inf", "steps": 50, "batch_size": batch}
    r = pc.robustness(held.oracle, held.x, held.y, refine=0, **common)
    nearer = pc.robustness(held.oracle, held.x, held.y, **common)
    rows = r.attackable & np.isfinite(r.norms)
    table = {
        "samples": len(held.x), "test error": 1 - float(r.attackable.mean()), "rho1": r.rho1,
        "rho2": r.rho2, "eps99": r.eps99, "rho1 refined": nearer.rho1,
        "eps99 refined": nearer.eps99,
        "rho1 error": _error(r.norms[rows & (r.sizes > 0)] / r.sizes[rows & (r.sizes > 0)]),
        "rho2 error": _error(r.linear[r.attackable & np.isfinite(r.linear)]),
        "not fooled": int(np.isinf(r.norms[r.attackable]).sum()),
    }  # fmt: skip
    return table, *(np.where(r.attackable, norms, 0.0) for norms in (r.norms, nearer.norms))


def _error(values: np.ndarray) -> float:
    """The standard error of their mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def curves(
    held: Subject, norms: np.ndarray, settings: dict[str, Any], batch: int
) -> dict[str, list[dict[str, Any]]]:
    """Method -> a row an eps: whom it fools, and beside Algorithm 1-T, who is fooled by one of the
    two alone."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for eps in settings["eps"]:
        fooled = {name: attacked(held, row, eps, batch).success for name, row in METHODS.items()}
        fooled[DEEPFOOL] = (norms > 0) & (norms <= eps)
        if eps in settings["portfolio"]:
            fooled[PORTFOLIO] = attacked(held, {"attack": "portfolio"}, eps, batch).success
        for name, who in fooled.items():
            row = {"eps": eps, "fooled": int(who.sum()), "alone": alone(who, fooled[OURS])}
            rows.setdefault(name, []).append(row)
        print(f"eps {eps:.4g}: " + told(fooled, norms), flush=True)
    return rows


def alone(a: np.ndarray, b: np.ndarray) -> list[int]:
    """How many are fooled by the first alone, and by the second alone."""
    return [int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))]


def told(fooled: dict[str, np.ndarray], norms: np.ndarray) -> str:
    right = max(1, np.count_nonzero(norms > 0))
    return ", ".join(f"{name} {who.sum() / right:.2f}" for name, who in fooled.items())


def attacked(held: Subject, settings: dict[str, Any], eps: Any, batch: int) -> Any:
    """The result of one attack; a dither and a size of steps are meant as shares of eps."""
    given = {k: v * eps if k in ("dither", "step_size") else v for k, v in settings.items()}
    return pc.attack(
        held.oracle, held.x, held.y, norm="inf", batch_size=batch,
        eps=None if given["attack"] == "deepfool" else eps, **given,
    )  # fmt: skip


def rivals(held: Subject, norms: np.ndarray, batch: int) -> dict[str, int]:
    """How many samples DeepFool reached, and how many of them the others fool with as much."""
    rows = (norms > 0) & np.isfinite(norms)
    reached = Subject(held.oracle, held.x[rows], held.y[rows], held.told)
    counts = {DEEPFOOL: int(rows.sum())}
    for name in RIVALS:
        result = attacked(reached, METHODS[name], SLACK * norms[rows], batch)
        counts[name] = int(result.success.sum())
    return counts


def otherwise(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """At one eps, whom Algorithm 1 fools in other settings, and how much of its budget it spends on
    whom it does not: the mean of abs(delta) / eps. And `rivals` within the refined norms."""
    held, eps = subject(settings["network"], settings["samples"], folder), settings["eps"]
    batch = batch_of(held)
    _, norms, refined = robustness(held, batch)
    fooled, spent = {}, {}
    for name, row in VARIANTS.items():
        result = attacked(held, row, eps, batch)
        within = result.success & (result.norms <= eps)
        fooled[name] = int(np.count_nonzero(within))
        if row["attack"] != "deepfool":
            rest = result.delta[result.attackable & ~within]
            spent[name] = float(np.abs(rest).mean() / eps) if len(rest) else None
    return {
        "network": held.told, "right": int(np.count_nonzero(norms > 0)), "fooled": fooled,
        "spent": spent, "within refined norms": rivals(held, refined, batch),
    }  # fmt: skip


def batch_of(held: Subject) -> int:
    """Samples in flight: what a large network keeps of each is much."""
    return 1000 if held.x[0].size < 1000 else 20
