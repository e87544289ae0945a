"""How far the samples of a data set are from being fooled: `robustness`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.attacks.feasibility import LinearEstimate, diameter
from pertcore.attacks.options import number, whole
from pertcore.attacks.prepare import Given
from pertcore.attacks.registry import Attack, find
from pertcore.attacks.run import Progress
from pertcore.errors import InputError
from pertcore.evaluation.curve import Run, checked_once, fooled
from pertcore.evaluation.page_parts import curve_chart, figure
from pertcore.notebook import html_table
from pertcore.oracle import Array, Calls, Oracle

# Budgets that are searched begin at this share of the smallest linear estimate, and end, where no
# box says more, at so many times the largest.
BELOW, ABOVE = 0.25, 64.0
SHOWN = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Robustness:
    """Smallest perturbations of n samples, and the measures made of them.

    norms: (n,) of the smallest perturbation found, inf where none was, 0 where the sample was wrong
    before; linear: (n,) Theorem 1's L / norm_q(g) at x, the smallest that the linear model admits;
    sizes: (n,) norm_p(x); attackable: (n,) bool, right before. calls, seconds: of the whole run;
    warnings: how it could be wrong; settings: the arguments that repeat it.

    What an attack finds is an upper bound of what there is: a sample may be fooled by less.
    """

    norms: Array
    linear: Array
    sizes: Array
    attackable: Array
    calls: Calls
    seconds: float
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def rho1(self) -> float:
        """Mean of norm_p(r) / norm_p(x) over the samples that were fooled (x = 0 left out), the
        robustness of Balda et al., Section VI, after Moosavi-Dezfooli et al. 2016."""
        rows = self.attackable & np.isfinite(self.norms) & (self.sizes > 0)
        return _mean(self.norms[rows] / self.sizes[rows])

    @property
    def rho2(self) -> float:
        """Mean of L / norm_q(g) over the samples right at x, where the slope is not zero."""
        return _mean(self.linear[self.attackable & np.isfinite(self.linear)])

    @property
    def eps99(self) -> float:
        """The smallest eps at which 99 % of the samples right at x are fooled; inf if none is."""
        return float(self.quantiles([0.99])[0])

    def quantiles(self, levels: Any = SHOWN) -> Array:
        """(k,) smallest eps at which the fooling ratio reaches each level in (0, 1]; NaN where
        nobody was right."""
        shares = np.atleast_1d(np.asarray(levels, dtype=np.float64))
        if not np.all((shares > 0) & (shares <= 1)):
            raise InputError(f"levels={levels!r}: shares above 0 and at most 1")
        held = np.sort(self.norms[self.attackable])
        if not len(held):
            return np.full(len(shares), np.nan)
        return held[np.maximum(np.ceil(shares * len(held) - 1e-9).astype(int) - 1, 0)]

    def plot(self) -> Any:
        """A matplotlib figure of the robust accuracy over eps, from the smallest norms, beside what
        the linear model admits. Raises BackendError where matplotlib is missing."""
        norm = f"l{self.settings.get('norm')}"
        return figure(curve_chart(self.norms, self.attackable, norm, linear=self.linear))

    def _repr_html_(self) -> str:
        return html_table((), self._told(), self.warnings)

    def _told(self) -> list[tuple[str, str]]:
        """Figures by name, as a table shows them."""
        unfound = int(np.count_nonzero(self.attackable & ~np.isfinite(self.norms)))
        rows = {
            "samples": len(self.norms), "right at x": int(self.attackable.sum()),
            "not fooled": unfound, "rho1": self.rho1, "rho2": self.rho2, "eps99": self.eps99,
            **{f"{level:.0%} fooled at": eps for level, eps in zip(SHOWN, self.quantiles())},
        }  # fmt: skip
        return [(k, f"{v:.5g}" if isinstance(v, float) else str(v)) for k, v in rows.items()]

    def __str__(self) -> str:
        lines = [f"{name:<16} {value}" for name, value in self._told()]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def robustness(
    oracle: Oracle,
    x: Any,
    y: Any = None,
    *,
    attack: str | Attack = "deepfool",
    norm: float | str = "inf",
    tolerance: float = 0.05,
    largest: float | str | None = None,
    rng: int = 0,
    callback: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Robustness:
    """rho1, rho2, eps99 and quantiles of the smallest perturbations of a classifier's samples.

    A minimum-norm attack, such as the paper's DeepFool, runs once. For any other the smallest
    budget of each sample is searched up to a factor of 1 + `tolerance`, from a quarter of the
    smallest linear estimate to `largest` (None: the diameter of the bounds, else 64 times the
    largest estimate). x, y, norm, rng, callback and further settings are those of `pertcore.curve`.

    Raises InputError for a wrong call before any model run, and for a regression.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    ratio = 1 + number("tolerance", tolerance, above=1e-4, most=1.0)
    top = None if largest is None else number("largest", largest, above=1e-300)
    common = {"norm": norm, **settings}
    seed, given = whole("rng", rng, 0), checked_once(row, oracle, x, y, np.zeros(1), common)
    if given.goal.task != "classification":
        raise InputError("robustness is the smallest budget that fools, and this is a regression")
    run = Run.begun(row, oracle, given, seed, callback, common)
    estimate = run.estimate()
    budgets = np.zeros(1) if row.minimum_norm else _grid(estimate, given, ratio, top)
    found = fooled(run, budgets)
    return Robustness(
        norms=found.norms, linear=np.where(found.attackable, estimate.eps, 0.0),
        sizes=estimate.size, attackable=found.attackable,
        calls=run.calls, seconds=run.seconds, warnings=found.warnings,
        settings={**found.settings, "tolerance": tolerance, "largest": largest},
    )  # fmt: skip


def _grid(estimate: LinearEstimate, given: Given, ratio: float, top: float | None) -> Array:
    """Budgets (m,), each `ratio` times the one before."""
    known = estimate.eps[np.isfinite(estimate.eps) & (estimate.eps > 0)]
    if top is None:
        across = diameter(given)
        top = across if math.isfinite(across) else ABOVE * float(known.max(initial=1.0))
    low = min(BELOW * float(known.min(initial=top)), top)
    return np.geomspace(low, top, max(2, math.ceil(math.log(top / low) / math.log(ratio)) + 1))


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
