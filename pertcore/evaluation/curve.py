"""What a model withstands at each of many budgets, from one run: `curve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pertcore.attacks.checks import check_statuses
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
from pertcore.evaluation.search import Bracket, Window, search
from pertcore.evaluation.stream import unrelated
from pertcore.notebook import html_table
from pertcore.oracle import Array, Calls, Oracle
from pertcore.result import AttackResult


@dataclass(frozen=True)
class Curve:
    """Robust accuracy and fooling ratio over the budgets eps (m,), of n samples.

    norms: (n,) float64, the smallest perturbation found that fools the sample, verified on the
    model; inf where none did, 0 where it was wrong before. in_vain: (n,) the largest budget at
    which the sample was attacked and stood, 0 where there is none. x_adv: (n, *sample) of the
    caller's kind of array, x itself where nothing fooled. attackable: (n,) bool, right before;
    before, after: (n,) the class of x and of x_adv; status: (n,) of the attack that fooled, else of
    the last (`pertcore.Status`). calls, seconds: of the whole run; rounds: attacks in it; warnings:
    how it could be wrong; settings: the arguments that repeat it.
    """

    eps: Array
    norms: Array
    in_vain: Array
    x_adv: Any
    attackable: Array
    before: Array
    after: Array
    status: Array
    calls: Calls
    seconds: float
    rounds: int
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return "classification"

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

    def summary(self) -> dict[str, Any]:
        """Figures by name, without the table of budgets."""
        held = np.sort(self.norms[self.attackable])
        return {
            "samples": len(self.norms), "right at x": len(held),
            "never fooled": int(np.count_nonzero(np.isinf(held))),
            f"robust accuracy at {self.eps[-1]:.6g}": float(self.robust_accuracy[-1]),
            "median smallest norm": middle(held), "units a sample": units(self.calls, self.norms),
            "seconds": self.seconds,
        }  # fmt: skip

    def plot(self) -> Any:
        """A matplotlib figure of the robust accuracy over eps with its 95 % band. Raises
        BackendError where matplotlib is missing."""
        norm = f"l{self.settings.get('norm')}"
        return figure(curve_chart(self.norms, self.attackable, norm, at=self.eps))

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Header and rows as text, a row a budget."""
        found = budgets(self.eps, self.robust_accuracy, *self.band(), self.fooling_ratio)
        return found.header, [[str(cell) for cell in row] for row in found.rows]

    def _repr_html_(self) -> str:
        return html_table(*self.table(), self.warnings)

    def __str__(self) -> str:
        low, high = self.band()
        rows = [f"{'eps':>10} {'robust accuracy':>16} {'95 % interval':>17} {'fooling ratio':>14}"]
        for eps, share, a, b, ratio in zip(
            self.eps, self.robust_accuracy, low, high, self.fooling_ratio, strict=True
        ):
            rows.append(f"{eps:>10.5g} {share:>16.4f} {f'{a:.4f} - {b:.4f}':>17} {ratio:>14.4f}")
        cost = units(self.calls, self.norms)
        rows.append(f"{len(self.norms)} samples, {cost:.1f} units a sample, {self.seconds:.1f} s")
        return "\n".join(rows + [f"warning: {text}" for text in self.warnings])


def middle(held: Array) -> float:
    """The least of the ascending values that at least half of them do not exceed; NaN of none."""
    return float(held[(len(held) - 1) // 2]) if len(held) else float("nan")


def units(calls: Calls, samples: Array) -> float:
    """Forward and backward runs a sample, a pair of them being one."""
    return (calls.f + calls.vjp + calls.jvp) / (2 * max(len(samples), 1))


def curve(
    oracle: Oracle,
    x: Any,
    y: Any = None,
    *,
    eps: Sequence[Any] | Array,
    attack: str | Attack = "alg1",
    norm: float | str = "inf",
    rng: int = 0,
    first_index: int = 0,
    callback: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Curve | RegressionCurve:
    """Robust accuracy of a classifier over many budgets, for the price of a few attacks.

    eps: the budgets, numbers or text such as "8/255", in the units of x. attack: any of
    `pertcore.attacks`; a minimum-norm attack runs once, another runs some three times on each
    sample, at budgets between those where it is known to be fooled and to stand. What was fooled
    once counts at every larger budget, so that the curve never rises. callback: told of every step
    of every attack, `done` of `total` samples settled. x, y, norm, rng, first_index (of the first
    sample) and further settings as `pertcore.attack` takes them.

    Of a regression, the losses and output PSNRs over the budgets: an attack at each, that keeps
    the point of the budget before where it finds none worse.

    Raises InputError for a wrong call before any model run.
    """
    row = attack if isinstance(attack, Attack) else find(attack)
    budgets, seed = checked_budgets(eps), whole("rng", rng, 0)
    common = {"norm": norm, **settings}
    given = checked_once(row, oracle, x, y, budgets, common)
    run = Run.begun(row, oracle, given, seed, first_index, callback, common)
    if given.goal.task == "classification":
        return fooled(run, budgets)
    found = driven(given, budgets, run.attempt)
    return RegressionCurve(
        eps=budgets, **found.figures, metrics=found.metrics, kept=found.kept,
        x_adv=given.restore(found.points), status=found.status,
        calls=run.calls, seconds=run.seconds,
        warnings=run.said(found.warnings), settings=run.settings(budgets),
    )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What the attacks of one call share; `own` are the settings of every one of them."""

    row: Attack
    model: Oracle
    given: Given
    seed: int
    first: int
    callback: Callable[[Progress], None] | None
    own: dict[str, Any]
    deterministic: bool
    before: Calls
    started: float

    @classmethod
    def begun(
        cls, row: Attack, oracle: Oracle, given: Given, seed: int, first_index: Any,
        callback: Any, common: dict[str, Any],
    ) -> Run:  # fmt: skip
        """The clock starts; the model is made deterministic as `pertcore.attack` does, but once."""
        first, own = whole("first_index", first_index, 0), dict(common)
        deterministic = bool(own.pop("deterministic", False))
        model = chunked(oracle, DETERMINISTIC_CHUNK) if deterministic else oracle
        before = model.calls.copy()
        return cls(
            row, model, given, seed, first, callback, own, deterministic, before,
            time.perf_counter(),
        )  # fmt: skip

    @property
    def calls(self) -> Calls:
        return self.model.calls - self.before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def settings(self, budgets: Array) -> dict[str, Any]:
        """The arguments that repeat the call."""
        told = {
            "attack": self.row.name, "seed": self.seed, "eps": budgets.tolist(),
            "first_index": self.first, "deterministic": self.deterministic,
        }  # fmt: skip
        return {**told, **self.own, "task": self.given.goal.task}

    def said(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """Every kind of warning once."""
        return gathered([*self.given.warnings, *warnings])

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
            first_index=self.first + rows, callback=self._settled(len(rows)), **own,
        )  # fmt: skip

    def _settled(self, attacked: int) -> Callable[[Progress], None] | None:
        """Who is not attacked any more is done, and nobody else."""
        told, n = self.callback, len(self.given.x)
        if told is None:
            return None
        return lambda progress: told(replace(progress, done=n - attacked, total=n))


def gathered(warnings: Sequence[str]) -> tuple[str, ...]:
    """One warning of each kind, which is what stands before its colon, and how many were alike."""
    kinds: dict[str, list[str]] = {}
    for text in dict.fromkeys(warnings):
        kinds.setdefault(text.partition(":")[0], []).append(text)
    return tuple(
        first if not more else f"{first} ({len(more)} more like it, of other samples or budgets)"
        for first, *more in kinds.values()
    )


def fooled(run: Run, budgets: Array, window: Window | None = None) -> Curve:
    """The curve of a classifier over the ascending budgets (m,), each sample on its window of those
    above zero."""
    positive, largest = budgets[budgets > 0], None if run.row.minimum_norm else float(budgets[-1])
    if run.row.minimum_norm or largest == 0:
        found = _once(run, largest)
    else:
        found = search(positive, run.given.x, run.estimate(), run.attempt, window)
    least = 0 if window is None else window.first
    stood = np.where(found.low >= least, np.append(positive, 0.0)[found.low], 0.0)
    return Curve(
        eps=budgets, norms=np.where(found.attackable, found.norms, 0.0),
        in_vain=np.where(found.attackable, stood, 0.0),
        x_adv=run.given.restore(found.points), attackable=found.attackable,
        before=found.before, after=found.after, status=found.status.astype(np.int8),
        calls=run.calls, seconds=run.seconds, rounds=found.rounds,
        warnings=run.said([*found.warnings, *check_statuses(found.status)]),
        settings=run.settings(budgets),
    )  # fmt: skip


def checked_budgets(eps: Any) -> Array:
    """Each budget once, ascending, (m,); InputError where one is none."""
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
    for name in ("eps", "evaluate_on"):
        if name in common:
            raise InputError(f"{name}={common[name]!r}: a curve has no such argument")
    return prepared(row, oracle, x, y, float(budgets[-1]), common)


def prepared(
    row: Attack, oracle: Oracle, x: Any, y: Any, eps: Any, common: dict[str, Any]
) -> Given:
    """What `pertcore.attack` checks before it runs a model; eps and rng are not in `common`."""
    names = ("norm", "bounds", "targeted", "mask", "partition", "task", "threshold", "goal",
             "metrics", "levels")  # fmt: skip
    own: dict[str, Any] = {name: common.get(name) for name in names}
    own |= {"targeted": bool(own["targeted"]), "norm": common.get("norm", "inf")}
    known = {*names, "decision", "peak", "batch_size", "deterministic"}
    options = row.checked({k: v for k, v in common.items() if k not in known})
    return prepare(
        row, oracle, x, y, eps=eps, decision=common.get("decision", 0.0),
        peak=common.get("peak", 1.0), loss=common.get("loss"), options=options,
        numpy_only=["a curve"], **own,
    )  # fmt: skip


def _once(run: Run, eps: float | None) -> Bracket:
    """One attack answers all budgets: it looks for the smallest perturbation by itself."""
    result = run.attempt(np.arange(len(run.given.x)), eps)
    norms = np.where(result.success, result.norms, np.inf)
    unknown = np.full(len(norms), -1)
    moved = result.success.reshape(-1, *[1] * (run.given.x.ndim - 1))
    return Bracket(
        unknown, unknown, norms, np.where(moved, result.x_adv, run.given.x), result.attackable,
        result.before, np.where(result.success, result.after, result.before), result.status,
        np.ones(len(norms), np.int64), unrelated(result), 1,
    )  # fmt: skip
