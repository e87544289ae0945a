"""How far a regression is driven at each of many budgets: `RegressionCurve`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.attacks.prepare import Given
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.intervals import student
from pertcore.oracle import Array, Calls
from pertcore.result import AttackResult


@dataclass(frozen=True)
class RegressionCurve:
    """Losses and output PSNR of n samples over the budgets eps (m,), ascending.

    loss: (m, n) float64, the loss the attack was given, as the user wrote it, at the worst point
    found within each budget; metrics: name -> (m, n) there, with mse of the output against y, else
    f(x), and psnr_in, psnr_out in dB; success: (m, n) bool, the loss is at the threshold, else
    worse than at x; norms: (m, n) float64; x_adv: (n, *sample) of the caller's kind of array, at
    the largest budget. carried: (m,) how many samples kept the point of the budget before, because
    the attack found none worse. calls, seconds: of the whole run; warnings: how it could be wrong;
    settings: the arguments that repeat it.
    """

    eps: Array
    loss: Array
    metrics: dict[str, Array]
    success: Array
    norms: Array
    x_adv: Any
    carried: Array
    calls: Calls
    seconds: float
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def psnr(self) -> Array:
        """(m,) mean output PSNR in dB over the samples where it is finite, as Balda et al., Fig. 4,
        plot it; NaN where it is nowhere."""
        return self.mean("psnr_out")

    @property
    def fooling_ratio(self) -> Array:
        """(m,) share of the samples with `success`."""
        return np.mean(self.success, axis=1)

    def mean(self, name: str) -> Array:
        """(m,) mean of a metric, or of "loss", over the samples where it is finite."""
        total, count = self._sums(name)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / count)

    def band(self, name: str = "psnr_out", level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends (m,) of Student's confidence interval of `mean(name)`: what another
        sample of this size could have shown; NaN where fewer than two are finite."""
        middle = self.mean(name)
        return student(middle, *self._sums(name, middle[:, None]), level)

    def _sums(self, name: str, middle: Array | None = None) -> tuple[Array, Array]:
        """Sum and number (m,) of the finite values, or of their squares about the middle."""
        if name != "loss" and name not in self.metrics:
            raise InputError(f"name={name!r}: this curve has loss, {', '.join(self.metrics)}")
        values = self.loss if name == "loss" else self.metrics[name]
        finite = np.isfinite(values)
        if middle is not None:
            with np.errstate(invalid="ignore"):
                values = (values - middle) ** 2
        return np.sum(np.where(finite, values, 0.0), axis=1), finite.sum(axis=1)

    def __str__(self) -> str:
        low, high = self.band()
        names = ("eps", "mean loss", "output PSNR, dB", "95 % interval", "success")
        rows = ["{:>10} {:>12} {:>16} {:>17} {:>8}".format(*names)]
        for eps, loss, psnr, a, b, share in zip(
            self.eps, self.mean("loss"), self.psnr, low, high, self.fooling_ratio, strict=True
        ):
            interval = f"{a:.2f} - {b:.2f}"
            rows.append(f"{eps:>10.5g} {loss:>12.5g} {psnr:>16.2f} {interval:>17} {share:>8.4f}")
        units = (self.calls.f + self.calls.vjp + self.calls.jvp) / (2 * self.loss.shape[1])
        rows.append(f"{self.loss.shape[1]} samples, {units:.1f} units each, {self.seconds:.1f} s")
        return "\n".join(rows + [f"warning: {text}" for text in self.warnings])


@dataclass(frozen=True)
class Driven:
    """Of m budgets, each a row as `RegressionCurve` has it; points: the samples at the last."""

    figures: dict[str, Array]
    metrics: dict[str, Array]
    points: Array
    carried: Array
    warnings: list[str]


def driven(given: Given, budgets: Array, attempt: Callable[[Array, Any], AttackResult]) -> Driven:
    """An attack at each of the ascending budgets (m,); `attempt` as `curve` has it.

    A point within one budget lies within the next: it is kept there where the attack finds none
    worse, so that the loss never falls.
    """
    everybody = np.arange(len(given.x))
    figures: list[dict[str, Array]] = []
    metrics: list[dict[str, Array]] = []
    points, carried = np.array(given.x), []
    said: list[str] = []
    for eps in budgets:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PertcoreWarning)
            result = attempt(everybody, eps)
        own = {"loss": result.loss_after, "success": result.success, "norms": result.norms}
        kept = np.zeros(len(everybody), dtype=bool)
        if figures:
            kept = ~_worse(given, own["loss"], figures[-1]["loss"])
        figures.append(_kept(kept, figures, own))
        metrics.append(_kept(kept, metrics, result.metrics))
        points[~kept] = np.asarray(result.x_adv)[~kept]
        carried.append(int(kept.sum()))
        said += result.warnings
    return Driven(_stacked(figures), _stacked(metrics), points, np.array(carried), said)


def _kept(kept: Array, rows: list[dict[str, Array]], new: dict[str, Array]) -> dict[str, Array]:
    """The new values, but those of the last row where `kept`."""
    before = rows[-1] if rows else new
    return {name: np.where(kept, before[name], values) for name, values in new.items()}


def _stacked(rows: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _worse(given: Given, loss: Array, before: Array) -> Array:
    """(n,) bool: whose loss, as the user wrote it, is worse than before; NaN is worse than none."""
    lowered, earlier = given.goal.shown(loss), given.goal.shown(before)
    return np.asarray((lowered < earlier) | (np.isnan(earlier) & ~np.isnan(lowered)))
