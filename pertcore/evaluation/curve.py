"""What a model withstands at each of many budgets, from one run: `curve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.attacks.feasibility import LinearEstimate, linear_estimate
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
    run = Run.begun(row, oracle, given, seed, callback, common)
    if given.goal.task == "classification":
        return fooled(run, budgets)
    found = driven(given, budgets, run.attempt)
    return RegressionCurve(
        eps=budgets, **found.figures, metrics=found.metrics, carried=found.carried,
        x_adv=given.restore(found.points), calls=run.calls, seconds=run.seconds,
        warnings=run.said(found.warnings), settings=run.settings(budgets),
    )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What the attacks of one call share; `own` are the settings of every one of them."""

    row: Attack
    model: Oracle
    given: Given
    seed: int
    callback: Callable[[Progress], None] | None
    own: dict[str, Any]
    deterministic: bool
    before: Calls
    started: float

    @classmethod
    def begun(
        cls, row: Attack, oracle: Oracle, given: Given, seed: int, callback: Any,
        common: dict[str, Any],
    ) -> Run:  # fmt: skip
        """The clock starts; the model is made deterministic as `pertcore.attack` does, but once."""
        own = dict(common)
        deterministic = bool(own.pop("deterministic", False))
        model = chunked(oracle, DETERMINISTIC_CHUNK) if deterministic else oracle
        before = model.calls.copy()
        return cls(
            row, model, given, seed, callback, own, deterministic, before, time.perf_counter()
        )

    @property
    def calls(self) -> Calls:
        return self.model.calls - self.before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def settings(self, budgets: Array) -> dict[str, Any]:
        """The arguments that repeat the call."""
        told = {"attack": self.row.name, "seed": self.seed, "eps": budgets.tolist()}
        return {**told, "deterministic": self.deterministic, **self.own}

    def said(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """Every warning once."""
        return tuple(dict.fromkeys([*self.given.warnings, *warnings]))

    def estimate(self) -> LinearEstimate:
        """Theorem 1's budgets at x."""
        return linear_estimate(self.model, self.given, self.own.get("batch_size"))

    def attempt(self, rows: Array, eps: Any) -> AttackResult:
        """The samples at `rows`, each attacked within its eps."""
        own, given = dict(self.own), self.given
        if own.get("mask") is not None and len(np.shape(own["mask"])) == given.x.ndim:
            own["mask"] = np.broadcast_to(own["mask"], given.x.shape)[rows]
        y = None if given.y is None else given.y[rows]
        return attack(
            self.model, given.x[rows], y, attack=self.row, eps=eps, rng=self.seed,
            first_index=rows, callback=self.callback, **own,
        )  # fmt: skip


def fooled(run: Run, budgets: Array) -> Curve:
    """The curve of a classifier over the ascending budgets (m,)."""
    positive, largest = budgets[budgets > 0], None if run.row.minimum_norm else float(budgets[-1])
    if run.row.minimum_norm or largest == 0:
        found = _once(run, largest)
    else:
        found = search(positive, run.given.x, run.estimate(), run.attempt)
    grid = np.concatenate([[0.0], positive])
    return Curve(
        eps=budgets, norms=np.where(found.attackable, found.norms, 0.0),
        in_vain=np.where(found.attackable, grid[found.low + 1], 0.0),
        x_adv=run.given.restore(found.points), attackable=found.attackable,
        calls=run.calls, seconds=run.seconds, rounds=found.rounds,
        warnings=run.said(found.warnings), settings=run.settings(budgets),
    )  # fmt: skip


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


def _once(run: Run, eps: float | None) -> Bracket:
    """One attack answers all budgets: it looks for the smallest perturbation by itself."""
    result = run.attempt(np.arange(len(run.given.x)), eps)
    norms = np.where(result.success, result.norms, np.inf)
    unknown = np.full(len(norms), -1)
    return Bracket(
        unknown, unknown, norms, np.asarray(result.x_adv), result.attackable,
        np.zeros(len(norms), np.int64), list(result.warnings), 1,
    )  # fmt: skip
