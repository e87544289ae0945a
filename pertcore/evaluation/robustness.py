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
from pertcore.evaluation.curve import Run, checked_once, fooled, units
from pertcore.evaluation.page_parts import curve_chart, figure
from pertcore.evaluation.search import Window
from pertcore.notebook import html_table
from pertcore.oracle import Array, Calls, Oracle

# Budgets that are searched for a sample begin at this share of its linear estimate, and end, where
# no box says more, at so many times it; where the slope says nothing, of the size of x instead.
BELOW, UNKNOWN, ABOVE = 1 / 64, 2.0**-20, 64.0
SHOWN = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Robustness:
    """Smallest perturbations of n samples, and the measures made of them.

    norms: (n,) of the smallest perturbation found, inf where none was, 0 where the sample was wrong
    before; linear: (n,) Theorem 1's L / norm_q(g) at x, the smallest that the linear model admits;
    sizes: (n,) norm_p(x); x_adv, attackable, before, after, status: as `Curve` has them. calls,
    seconds: of the whole run; warnings: how it could be wrong; settings: the arguments that repeat
    it.

    What an attack finds is an upper bound of what there is: a sample may be fooled by less.
    """

    norms: Array
    linear: Array
    sizes: Array
    x_adv: Any
    attackable: Array
    before: Array
    after: Array
    status: Array
    calls: Calls
    seconds: float
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return "classification"

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

    def summary(self) -> dict[str, Any]:
        """Figures by name."""
        unfound = int(np.count_nonzero(self.attackable & ~np.isfinite(self.norms)))
        reached = zip(SHOWN, self.quantiles().tolist(), strict=True)
        return {
            "samples": len(self.norms), "right at x": int(self.attackable.sum()),
            "never fooled": unfound, "rho1": self.rho1, "rho2": self.rho2, "eps99": self.eps99,
            **{f"{level:.0%} fooled at": eps for level, eps in reached},
            "units a sample": units(self.calls, self.norms), "seconds": self.seconds,
        }  # fmt: skip

    def _told(self) -> list[tuple[str, str]]:
        rows = self.summary().items()
        return [(k, f"{v:.5g}" if isinstance(v, float) else str(v)) for k, v in rows]

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
    first_index: int = 0,
    callback: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Robustness:
    """rho1, rho2, eps99 and quantiles of the smallest perturbations of a classifier's samples.

    A minimum-norm attack, such as the paper's DeepFool, runs once. For any other the smallest
    budget of each sample is searched up to a factor of 1 + `tolerance`, from a 64th of its linear
    estimate to `largest` (None: the diameter of the bounds, else 64 times its estimate), among
    budgets that are the same for every data set. x, y, norm, rng, first_index, callback and further
    settings are those of `pertcore.curve`.

    Raises InputError for a wrong call before any model run, and for a regression.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    ratio, top = limits(tolerance, largest)
    common = {"norm": norm, **settings}
    seed, given = whole("rng", rng, 0), checked_once(row, oracle, x, y, np.zeros(1), common)
    check_task(given)
    run = Run.begun(row, oracle, given, seed, first_index, callback, common)
    estimate = run.estimate()
    if row.minimum_norm:
        found = fooled(run, np.zeros(1))
    else:
        found = fooled(run, *_grid(estimate, given, ratio, top))
    told = {name: value for name, value in found.settings.items() if name != "eps"}
    return Robustness(
        norms=found.norms, linear=np.where(found.attackable, estimate.eps, 0.0),
        sizes=estimate.size, x_adv=found.x_adv, attackable=found.attackable, before=found.before,
        after=found.after, status=found.status,
        calls=run.calls, seconds=run.seconds, warnings=found.warnings,
        settings={**told, "tolerance": tolerance, "largest": largest},
    )  # fmt: skip


def limits(tolerance: Any, largest: Any) -> tuple[float, float | None]:
    """The ratio of neighbouring budgets and the largest, checked; InputError otherwise."""
    ratio = 1 + number("tolerance", tolerance, above=1e-4, most=1.0)
    return ratio, None if largest is None else number("largest", largest, above=1e-300)


def check_task(given: Given) -> None:
    """Raises InputError for a regression."""
    if given.goal.task != "classification":
        raise InputError("robustness is the smallest budget that fools, and this is a regression")


def _grid(
    estimate: LinearEstimate, given: Given, ratio: float, top: float | None
) -> tuple[Array, Window]:
    """Budgets (m,), whole powers of `ratio` times the largest there may be, or times 1 where that
    is not known; and each sample's own among them, so that no sample depends on another."""
    across = diameter(given) if top is None else top
    ends = 0 < across < math.inf
    anchor = across if ends else 1.0
    known = np.isfinite(estimate.eps) & (estimate.eps > 0)
    size = np.where(estimate.size > 0, estimate.size, 1.0)
    reach = np.where(known, estimate.eps, size) / anchor
    first = _power(np.where(known, BELOW, UNKNOWN) * reach, ratio)
    last = np.zeros_like(first) if ends else _power(ABOVE * reach, ratio)
    first = np.minimum(first, last)
    start = int(first.min())
    powers = range(start, int(last.max()) + 1)
    return np.array([anchor * ratio**k for k in powers]), Window(first - start, last - start)


def _power(values: Array, ratio: float) -> Array:
    return np.floor(np.log(values) / math.log(ratio)).astype(np.int64)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
