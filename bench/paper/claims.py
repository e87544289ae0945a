"""What the paper says of its figures, held against the stored results: a row a claim."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.stats import binomtest

from bench.paper.classifiers import DEEPFOOL, OURS, PORTFOLIO
from bench.paper.draw import TITLES, Results

# Balda, Behboodi and Mathar, Table III.
PRINTED = {
    "fcnn": {"test error": 0.017, "rho1": 0.036, "rho2": 0.034, "eps99": 0.076},
    "lenet5": {"test error": 0.009, "rho1": 0.077, "rho2": 0.061, "eps99": 0.164},
    "nin": {"test error": 0.138, "rho1": 0.012, "rho2": 0.004, "eps99": 0.018},
    "densenet40": {"test error": 0.052, "rho1": 0.006, "rho2": 0.002, "eps99": 0.010},
}
# Fitted otherwise: the row of the table that it belongs to.
ROW = {
    "fcnn-adam": "fcnn",
    "fcnn-adam-decay": "fcnn",
    "lenet5-adam": "lenet5",
    "given-lenet5": "lenet5",
}
TOLD = 0.05  # below this share of chance two attacks are told apart, sample by sample
RIVALS = ("PGD-10, Table II", "PGD-10, Madry", DEEPFOOL, "APGD-50", PORTFOLIO)


def printed(name: str) -> dict[str, float]:
    """What the paper prints of a network, or of that of which it is another fit; {} if nothing."""
    return PRINTED.get(ROW.get(name, name), {})


def classified(results: Results) -> list[dict[str, Any]]:
    """The classifiers of Fig. 1, in order."""
    return [part for part in results.values() if "curves" in part]


def varied(results: Results) -> list[dict[str, Any]]:
    """The classifiers on which Algorithm 1 was run in other settings."""
    return [part for part in results.values() if part["maker"] == "otherwise"]


def title(part: dict[str, Any]) -> str:
    return TITLES[part["settings"]["network"]]


def duel(part: dict[str, Any], rival: str) -> dict[str, Any]:
    """Algorithm 1-10 against another over their budgets: where it is told to be ahead and behind,
    and the largest lead and arrears in points of fooling ratio."""
    ours = {row["eps"]: row["fooled"] for row in part["curves"][OURS]}
    rows = part["curves"].get(rival, [])
    leads = [100 * (ours[row["eps"]] - row["fooled"]) / part["right"] for row in rows]
    sure = [told_apart(*row["alone"]) for row in rows]
    return {
        "budgets": len(rows),
        "ahead": sum(lead > 0 and s for lead, s in zip(leads, sure, strict=True)),
        "behind": sum(lead < 0 and s for lead, s in zip(leads, sure, strict=True)),
        "lead": max(leads, default=math.nan), "least": min(leads, default=math.nan),
    }  # fmt: skip


def told_apart(alone: int, other: int) -> bool:
    """Whether samples fooled by one attack alone and by the other alone are too uneven for chance:
    the sign test, two-sided."""
    return alone + other > 0 and binomtest(alone, alone + other).pvalue < TOLD


def signed(points: float) -> str:
    """A whole number with its sign, zero without one."""
    return f"{round(points):+d}" if round(points) else "0"


def verdict(ahead: int, behind: int, even: str = "not told apart") -> str:
    if ahead and behind:
        return "depends on eps"
    return "holds" if ahead else "does not hold" if behind else even


def duels(results: Results) -> Iterable[tuple[str, ...]]:
    """A row a network: against every rival the verdict on "Algorithm 1-T outperforms it"."""
    for part in classified(results):
        cells = []
        for rival in RIVALS:
            found = duel(part, rival)
            if not found["budgets"]:
                cells.append("")
                continue
            cells.append(
                f"{verdict(found['ahead'], found['behind'])}: ahead at {found['ahead']}, behind at "
                f"{found['behind']} of {found['budgets']}; {signed(found['least'])} to "
                f"{signed(found['lead'])}"
            )
        yield (title(part), *cells)


def middle(part: dict[str, Any]) -> int:
    """The place of the budget at which Algorithm 1-10 fools nearest to one half."""
    share = np.array([row["fooled"] for row in part["curves"][OURS]]) / part["right"]
    return int(np.abs(share - 0.5).argmin())


def steps_gap(part: dict[str, Any]) -> str:
    """Fooling ratio of one step and of ten at the middle budget, and of the best single step."""
    k = middle(part)
    share = {
        n: 100 * r[k]["fooled"] / part["right"] for n, r in part["curves"].items() if k < len(r)
    }
    single = {n: share[n] for n in ("Algorithm 1", "Algorithm 2", "FGSM")}
    eps = part["curves"][OURS][k]["eps"]
    told = ", ".join(f"{n} {v:.0f} %" for n, v in single.items())
    return f"{title(part)} at {eps:g}: {told}, {OURS} {share[OURS]:.0f} %"


def wins(part: dict[str, Any], ours: str, rival: str) -> list[tuple[float, int, int, float]]:
    """At every eps: how many samples `ours` moves farther than `rival`, of how many, and by how
    many dB its mean output PSNR is lower."""
    rows = {(r["attack"], r["eps"]): r for r in part["rows"]}
    found = []
    for (name, eps), row in rows.items():
        other = rows.get((rival, eps))
        if name == ours and other is not None:
            more = int(np.count_nonzero(np.array(row["mse"]) > np.array(other["mse"])))
            found.append((eps, more, len(row["mse"]), other["psnr_out"] - row["psnr_out"]))
    return found
