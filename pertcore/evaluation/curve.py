"""What a model withstands at each of many budgets, from one run: `curve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.attacks.feasibility import linear_estimate
from pertcore.attacks.options import whole
from pertcore.attacks.prepare import Given, prepare
from pertcore.attacks.registry import Attack, find
from pertcore.attacks.run import DETERMINISTIC_CHUNK, Progress, attack
from pertcore.chunked import chunked
from pertcore.constraints import parse_number
from pertcore.errors import InputError
from pertcore.evaluation.intervals import wilson
from pertcore.evaluation.page_parts import budgets, curve_chart, figure
from pertcore.evaluation.regression_curve import RegressionCurve, driven
from pertcore.evaluation.search import Bracket, search
from pertcore.notebook import html_table
from pertcore.oracle import Array, Calls, Oracle
from pertcore.result import AttackResult


@dataclass(frozen=True)
class Curve:
    """Robust accuracy and fooling ratio over the budgets eps (m,), of n samples.

    norms: (n,) float64, the smallest perturbation found that fools the sample, verified on the
    model; inf where none did, 0 where it was wrong before. in_vain: (n,) the largest budget at
    which the sample was attacked and stood, 0 where there is none. x_adv: (n, *sample) of the
    caller's kind of array, x itself where nothing fooled. attackable: (n,) bool, right before.
    calls, seconds: of the whole run; rounds: attacks in it; warnings: how it could be wrong;
    settings: the arguments that repeat it.
    """

    eps: Array
    norms: Array
    in_vain: Array
    x_adv: Any
    attackable: Array
    calls: Calls
    seconds: float
    rounds: int
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def fooled(self) -> Array:
        """(m, n) bool: who was right and is fooled within each budget."""
        return self.attackable & (self.norms <= self.eps[:, None])

    @property
    def robust_accuracy(self) -> Array:
        """(m,) share of all samples that stay right; it never rises with eps."""
        return np.mean(self.attackable & ~self.fooled, axis=1)

    @property
    def fooling_ratio(self) -> Array:
        """(m,) share of the samples right at x that are fooled; NaN where nobody was right."""
        right = np.count_nonzero(self.attackable)
        return self.fooled.sum(axis=1) / right if right else np.full(len(self.eps), np.nan)

    def band(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends (m,) of the confidence interval of the robust accuracy: what
        another sample of this size could have shown (Wilson 1927)."""
        return wilson(self.robust_accuracy, len(self.norms), level)

    def plot(self) -> Any:
        """A matplotlib figure of the robust accuracy over eps with its 95 % band. Raises
        BackendError where matplotlib is missing."""
        norm = f"l{self.settings.get('norm')}"
        return figure(curve_chart(self.norms, self.attackable, norm, at=self.eps))

    def _repr_html_(self) -> str:
        table = budgets(self.eps, self.robust_accuracy, *self.band(), self.fooling_ratio)
        rows = [[str(cell) for cell in row] for row in table.rows]
        return html_table(table.header, rows, self.warnings)

    def __str__(self) -> str:
        low, high = self.band()
        rows = [f"{'eps':>10} {'robust accuracy':>16} {'95 % interval':>17} {'fooling ratio':>14}"]
        for eps, share, a, b, ratio in zip(
            self.eps, self.robust_accuracy, low, high, self.fooling_ratio, strict=True
        ):
            rows.append(f"{eps:>10.5g} {share:>16.4f} {f'{a:.4f} - {b:.4f}':>17} {ratio:>14.4f}")
        units = (self.calls.f + self.calls.vjp) / (2 * len(self.norms))
        rows.append(f"{len(self.norms)} samples, {units:.1f} units a sample, {self.seconds:.1f} s")
        return "\n".join(rows + [f"warning: {text}" for text in self.warnings])


def curve(
    oracle: Oracle,
    x: Any,
    y: Any = None,
    *,
    eps: Sequence[Any] | Array,
    attack: str | Attack = "alg1",
    norm: float | str = "inf",
    rng: int = 0,
    callback: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Curve | RegressionCurve:
    """Robust accuracy of a classifier over many budgets, for the price of a few attacks.

    eps: the budgets, numbers or text such as "8/255", in the units of x. attack: any of
    `pertcore.attacks`; a minimum-norm attack runs once, another runs some three times on each
    sample, at budgets between those where it is known to be fooled and to stand. What was fooled
    once counts at every larger budget, so that the curve never rises. x, y, norm, rng, callback
    and further settings as `pertcore.attack` takes them.

    Of a regression, the losses and output PSNRs over the budgets: an attack at each, that keeps
    the point of the budget before where it finds none worse.

    Raises InputError for a wrong call before any model run.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    budgets, seed = _budgets(eps), whole("rng", rng, 0)
    common = {"norm": norm, **settings}
    given = checked_once(row, oracle, x, y, budgets, common)
    run = fooled if given.goal.task == "classification" else _driven
    return run(oracle, given, row, budgets, seed, callback, common)


def fooled(
    oracle: Oracle, given: Given, row: Attack, budgets: Array, seed: int, callback: Any,
    common: dict[str, Any],
) -> Curve:  # fmt: skip
    """The curve of a classifier; `given` holds the checked arguments, `common` as they came."""
    own = dict(common)
    deterministic = bool(own.pop("deterministic", False))
    model = settled(oracle, deterministic)
    started, before = time.perf_counter(), model.calls.copy()
    largest = None if row.minimum_norm else float(budgets[-1])
    if row.minimum_norm or largest == 0:
        found = _once(model, given, row, largest, seed, callback, own)
    else:
        found = _searched(model, given, row, budgets[budgets > 0], seed, callback, own)
    grid = np.concatenate([[0.0], budgets[budgets > 0]])
    return Curve(
        eps=budgets, norms=np.where(found.attackable, found.norms, 0.0),
        in_vain=np.where(found.attackable, grid[found.low + 1], 0.0),
        x_adv=given.restore(found.points), attackable=found.attackable,
        calls=model.calls - before, seconds=time.perf_counter() - started, rounds=found.rounds,
        warnings=tuple(dict.fromkeys([*given.warnings, *found.warnings])),
        settings=_settings(row, budgets, seed, deterministic, own),
    )  # fmt: skip


def _driven(
    oracle: Oracle, given: Given, row: Attack, budgets: Array, seed: int, callback: Any,
    common: dict[str, Any],
) -> RegressionCurve:  # fmt: skip
    """The curve of a regression."""
    own = dict(common)
    deterministic = bool(own.pop("deterministic", False))
    model = settled(oracle, deterministic)
    started, before = time.perf_counter(), model.calls.copy()
    found = driven(given, budgets, _attempt(model, given, row, seed, callback, own))
    return RegressionCurve(
        eps=budgets, **found.figures, metrics=found.metrics, carried=found.carried,
        x_adv=given.restore(found.points), calls=model.calls - before,
        seconds=time.perf_counter() - started,
        warnings=tuple(dict.fromkeys([*given.warnings, *found.warnings])),
        settings=_settings(row, budgets, seed, deterministic, own),
    )  # fmt: skip


def _settings(
    row: Attack, budgets: Array, seed: int, deterministic: bool, own: dict[str, Any]
) -> dict[str, Any]:
    told = {"attack": row.name, "seed": seed, "eps": budgets.tolist()}
    return {**told, "deterministic": deterministic, **own}


def settled(oracle: Oracle, deterministic: bool) -> Oracle:
    """The model that every attack of one run sees, as `pertcore.attack` makes it deterministic."""
    return chunked(oracle, DETERMINISTIC_CHUNK) if deterministic else oracle


def _budgets(eps: Any) -> Array:
    if isinstance(eps, str) or not hasattr(eps, "__len__") or len(eps) == 0:
        raise InputError(f"eps={eps!r}: give several budgets, such as [0, '2/255', '8/255']")
    found = np.array([parse_number(value, "eps") for value in eps], dtype=np.float64)
    wrong = found[~((found >= 0) & np.isfinite(found))]
    if len(wrong):
        raise InputError(f"eps={wrong[0]}: a budget is a finite number >= 0")
    return np.unique(found)


def checked_once(
    row: Attack, oracle: Oracle, x: Any, y: Any, budgets: Array, common: dict[str, Any]
) -> Given:
    """The arguments of the first attack, checked; the others differ in budgets alone."""
    for name in ("eps", "first_index", "evaluate_on"):
        if name in common:
            raise InputError(f"{name}={common[name]!r}: a curve has no such argument")
    names = ("norm", "bounds", "targeted", "mask", "partition", "task", "threshold", "goal",
             "metrics")  # fmt: skip
    own: dict[str, Any] = {name: common.get(name) for name in names}
    own["targeted"] = bool(own["targeted"])
    known = {*names, "decision", "peak", "batch_size", "deterministic"}
    options = row.checked({k: v for k, v in common.items() if k not in known})
    return prepare(
        row, oracle, x, y, eps=float(budgets[-1]), decision=common.get("decision", 0.0),
        peak=common.get("peak", 1.0), loss=common.get("loss"), options=options, **own,
    )  # fmt: skip


def _attempt(
    oracle: Oracle, given: Given, row: Attack, seed: int, callback: Any, common: dict[str, Any]
) -> Callable[[Array, Any], AttackResult]:
    def attempt(rows: Array, eps: Any) -> AttackResult:
        own = dict(common)
        if own.get("mask") is not None and len(np.shape(own["mask"])) == given.x.ndim:
            own["mask"] = np.broadcast_to(own["mask"], given.x.shape)[rows]
        y = None if given.y is None else given.y[rows]
        return attack(
            oracle, given.x[rows], y, attack=row, eps=eps, rng=seed, first_index=rows,
            callback=callback, **own,
        )  # fmt: skip

    return attempt


def _searched(
    oracle: Oracle, given: Given, row: Attack, grid: Array, seed: int, callback: Any,
    common: dict[str, Any],
) -> Bracket:  # fmt: skip
    estimate = linear_estimate(oracle, given, common.get("batch_size"))
    return search(grid, given.x, estimate, _attempt(oracle, given, row, seed, callback, common))


def _once(
    oracle: Oracle, given: Given, row: Attack, eps: float | None, seed: int, callback: Any,
    common: dict[str, Any],
) -> Bracket:  # fmt: skip
    """One attack answers all budgets: it looks for the smallest perturbation by itself."""
    everybody = np.arange(len(given.x))
    result = _attempt(oracle, given, row, seed, callback, common)(everybody, eps)
    norms = np.where(result.success, result.norms, np.inf)
    unknown = np.full(len(norms), -1)
    return Bracket(
        unknown, unknown, norms, np.asarray(result.x_adv), result.attackable,
        np.zeros(len(norms), np.int64), list(result.warnings), 1,
    )  # fmt: skip
