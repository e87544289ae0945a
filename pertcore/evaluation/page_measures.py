"""What the pages of curves and of measures of robustness show."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.evaluation.curve import Curve, middle
from pertcore.evaluation.page_parts import (
    budgets,
    cost,
    curve_chart,
    ended,
    norm_of,
    per_class,
    smallest,
    spread,
    with_interval,
)
from pertcore.evaluation.reading import Kept, as_curve, as_robustness
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.report import Card, Table, shown
from pertcore.evaluation.robustness import Robustness
from pertcore.oracle import Array


def curve_body(kept: Kept) -> dict[str, Any]:
    """Of a classifier, or of a regression."""
    kept = kept.without_targets()
    found = as_curve(kept)
    return _fooled(kept, found) if isinstance(found, Curve) else _driven(kept, found)


def _fooled(kept: Kept, curve: Curve) -> dict[str, Any]:
    norm = norm_of(kept.facts)
    n, right = len(curve.norms), int(curve.attackable.sum())
    last = f"at eps {curve.eps[-1]:g}"
    robust = [curve.attackable & ~row for row in curve.fooled]
    low, high = curve.band()
    cards = [
        Card("Samples", str(n), f"{n - right} wrong before the attack"),
        Card("Clean accuracy", *with_interval(right, n)),
        Card(f"Robust accuracy {last}", *with_interval(int(robust[-1].sum()), n)),
        _median_card(curve.norms, curve.attackable, norm),
        Card("Cost a sample", *cost(curve.calls, n, curve.seconds)),
    ]
    columns = {f"at {curve.eps[k]:.4g}": robust[k] for k in _few(curve.eps)}
    lead = (
        f"{n} samples at {len(curve.eps)} budgets up to {curve.eps[-1]:g} ({norm}).{_gone(kept)} "
        "What was fooled within one budget counts at every larger one; robust accuracy is an "
        "upper bound, since another attack may find more."
    )
    return {
        "lead": lead, "cards": cards,
        "charts": [curve_chart(curve.norms, curve.attackable, norm, at=curve.eps),
                   smallest(curve.norms, curve.attackable, norm)],
        "tables": [_classes(kept, curve, columns), ended(curve)],
        "details": [budgets(curve.eps, curve.robust_accuracy, low, high, curve.fooling_ratio)],
    }  # fmt: skip


def robustness_body(kept: Kept) -> dict[str, Any]:
    """Measures, and the smallest norms they are made of."""
    kept = kept.without_targets()
    found, norm = as_robustness(kept), norm_of(kept.facts)
    n, right = len(found.norms), int(found.attackable.sum())
    unfooled = int(np.count_nonzero(found.attackable & ~np.isfinite(found.norms)))
    cards = [
        Card("Samples", str(n), f"{n - right} wrong before the attack, {unfooled} never fooled"),
        Card("rho1", shown(found.rho1), "mean norm of the perturbation over that of the sample"),
        Card("rho2", shown(found.rho2), "mean of what the linear model admits (Theorem 1)"),
        Card("eps99", shown(found.eps99), "99 % of those right are fooled within it"),
        _median_card(found.norms, found.attackable, norm),
        Card("Cost a sample", *cost(found.calls, n, found.seconds)),
    ]
    lead = (
        f"The smallest perturbations found ({norm}) of {n} samples.{_gone(kept)} They are upper "
        "bounds of the smallest there are: a sample may be fooled by less."
    )
    shares = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    rows = [(f"{100 * s:.0f} %", shown(float(v))) for s, v in zip(shares, found.quantiles(shares))]
    linear = np.where(found.attackable, found.linear, np.inf)
    return {
        "lead": lead, "cards": cards,
        "charts": [
            curve_chart(found.norms, found.attackable, norm, linear=linear),
            smallest(found.norms, found.attackable, norm),
        ],
        "tables": [
            Table("Budgets at which shares are fooled", ("fooled", "within eps"), rows,
                  "Of the samples that were right; inf where too few were fooled."),
            _classes(kept, found, {}), ended(found),
        ],
    }  # fmt: skip


def _few(eps: Array) -> list[int]:
    """Places of at most three budgets above zero: the last, and before it a third and two."""
    places = [k for k, value in enumerate(eps.tolist()) if value > 0] or [0]
    return sorted({places[(len(places) - 1) * part // 3] for part in (1, 2, 3)})


def _median_card(norms: Any, attackable: Any, norm: str) -> Card:
    value = shown(middle(np.sort(norms[attackable])))
    return Card("Median smallest norm", value, f"{norm}, of the samples that were right")


def _classes(kept: Kept, found: Curve | Robustness, standing: dict[str, Array]) -> Table:
    seen = np.where(found.attackable & np.isfinite(found.norms), found.after, -1)
    return per_class(kept.row("label"), found.attackable, standing, found.norms, seen)


def _gone(kept: Kept) -> str:
    left = kept.facts.get("samples_left_out")
    return f" {left} more were left out: their label is the target already." if left else ""


def _driven(kept: Kept, found: RegressionCurve) -> dict[str, Any]:
    n, last = found.loss.shape[1], f"at eps {found.eps[-1]:g}"
    low, high = found.band()
    cards = [
        Card("Samples", str(n), f"{int(found.success[-1].sum())} succeeded {last}"),
        Card(f"Mean loss {last}", shown(float(found.mean("loss")[-1])),
             f"{shown(float(found.mean('loss')[0]))} at eps {found.eps[0]:g}"),
    ]  # fmt: skip
    if "psnr_out" in found.metrics:
        told = f"dB; 95 % interval {shown(float(low[-1]))} to {shown(float(high[-1]))}"
        cards.append(Card(f"Mean output PSNR {last}", shown(float(found.psnr[-1])), told))
    cards.append(Card("Cost a sample", *cost(found.calls, n, found.seconds)))
    lead = (
        f"{n} samples at {len(found.eps)} budgets up to {found.eps[-1]:g} ({norm_of(kept.facts)}), "
        "an attack at each. What was found within one budget is kept at every larger one where "
        "the attack finds nothing worse; another attack may find more."
    )
    rows = {"loss": found.loss[-1], **{name: rows[-1] for name, rows in found.metrics.items()}}
    return {
        "lead": lead, "cards": cards, "charts": found.charts(),
        "tables": [spread({f"{name} {last}": values for name, values in rows.items()}),
                   ended(found)],
        "details": [found.budgets()],
    }  # fmt: skip
