"""Two models, or two releases of one, on the same samples: `compare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.attacks.options import number, whole
from pertcore.errors import InputError
from pertcore.evaluation.samples import Samples, samples_of
from pertcore.oracle import Array

# Two robustness runs are compared at these quantiles of all their finite norms.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Draws of the bootstrap held in memory at once.
DRAWS = 4_000_000
# Settings that may differ without a word: they change no answer, or are compared otherwise.
SILENT = {"batch_size", "eps", "deterministic", "first_index", "callback", "metrics"}


@dataclass(frozen=True)
class Difference:
    """One figure of both, b - a, and its confidence interval (low, high).

    of: how many samples it is a mean over; only_a, only_b: those for which the figure is larger
    with a alone and with b alone.
    """

    name: str
    a: float
    b: float
    low: float
    high: float
    of: int
    only_a: int
    only_b: int

    @property
    def difference(self) -> float:
        """b - a."""
        return self.b - self.a

    @property
    def verdict(self) -> str:
        """Which is larger, where the interval leaves no doubt."""
        if self.low > 0:
            return "b is larger"
        return "a is larger" if self.high < 0 else "not told apart"


@dataclass(frozen=True)
class Comparison:
    """Figures of two results on the same samples, each with its paired interval at `level`."""

    rows: tuple[Difference, ...]
    samples: int
    level: float
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Difference:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"{name}: there are {', '.join(row.name for row in self.rows)}")

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as text."""
        header = ["", "a", "b", "b - a", f"{100 * self.level:g} % interval", "only a", "only b", ""]
        rows = [
            [
                row.name, f"{row.a:.4f}", f"{row.b:.4f}", f"{row.difference:+.4f}",
                f"{row.low:+.4f} .. {row.high:+.4f}", str(row.only_a), str(row.only_b), row.verdict,
            ]
            for row in self.rows
        ]  # fmt: skip
        return header, rows

    def __str__(self) -> str:
        header, rows = self.table()
        wide = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(c.rjust(w) for c, w in zip(r, wide, strict=True)) for r in [header, *rows]
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def compare(
    a: Any, b: Any, *, level: float = 0.95, resamples: int = 10_000, rng: int = 0
) -> Comparison:
    """How two results on the same samples differ, with paired bootstrap confidence intervals.

    a, b: both what `attack` returned, or both of `curve`, or of `robustness`; or the folders of
    such runs. Compared are clean and robust accuracy (of curves at every budget they share, of a
    robustness at quantiles of all norms), or the losses and metrics of regressions.

    The samples are drawn anew `resamples` times with replacement, each with both its answers; the
    interval holds the middle `level` of the differences of the means (percentile bootstrap, Efron
    1979). Where a share differs on no sample at all, it is widened to the largest that n samples
    without a difference leave room for, 1 - (1 - level)^(1/n). Each interval stands for itself.

    Raises InputError where the two are not of one kind or not of the same samples.
    """
    inside = number("level", level)
    if not 0 < inside < 1:
        raise InputError(f"level={level!r}: between 0 and 1, such as 0.95")
    count, seed = whole("resamples", resamples, 100), whole("rng", rng, 0)
    first, second = samples_of(a, "a"), samples_of(b, "b")
    _check_pair(first, second)
    rows = tuple(
        _difference(name, one, other, inside, count, np.random.default_rng([seed, place]))
        for place, (name, one, other) in enumerate(_pairs(first, second))
    )
    return Comparison(rows, first.count, inside, tuple(_doubts(first, second)))


def _check_pair(a: Samples, b: Samples) -> None:
    if a.kind != b.kind or bool(a.shares) != bool(b.shares):
        raise InputError(f"a is a {_kind(a)} and b a {_kind(b)}: compare two of one kind")
    same = a.index is None or b.index is None or np.array_equal(a.index, b.index)
    if a.count != b.count or not same:
        raise InputError(
            f"a has {a.count} samples and b {b.count}, or at other places of their data set: a "
            "paired comparison needs both answers of every sample"
        )
    if a.data and b.data and sorted(a.data.values()) != sorted(b.data.values()):
        raise InputError("a and b were run on different data: their sha256 in run.json differ")


def _kind(samples: Samples) -> str:
    return f"{samples.kind} of a {'classifier' if samples.shares else 'regression'}"


def _pairs(a: Samples, b: Samples) -> Iterator[tuple[str, Array, Array]]:
    """What is compared: a name and the values (n,) of both."""
    for name in a.shares:
        yield name, a.shares[name], b.shares[name]
    shared = [name for name in a.measures if name in b.measures]
    if a.measures and not shared:
        raise InputError(
            f"a has {', '.join(a.measures)} and b {', '.join(b.measures)}: nothing to compare"
        )
    for name in shared:
        yield name, a.measures[name], b.measures[name]
    if a.norms is None or b.norms is None:
        return
    for eps in _budgets(a, b):
        yield f"robust accuracy at {eps:.6g}", a.norms > eps, b.norms > eps


def _budgets(a: Samples, b: Samples) -> Array:
    if a.norms is None or b.norms is None or a.eps is None or b.eps is None:
        both = np.concatenate([s.norms for s in (a, b) if s.norms is not None])
        known = both[np.isfinite(both) & (both > 0)]
        return np.unique(np.quantile(known, QUANTILES)) if len(known) else np.zeros(0)
    shared = np.intersect1d(a.eps, b.eps)
    if not len(shared):
        raise InputError(f"a has the budgets {a.eps} and b {b.eps}: none is in both")
    return shared


def _difference(
    name: str, a: Array, b: Array, level: float, count: int, rng: np.random.Generator
) -> Difference:
    shares = a.dtype == bool
    one, other = a.astype(np.float64), b.astype(np.float64)
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]
    n = len(one)
    if not n:
        nan = float("nan")
        return Difference(name, nan, nan, nan, nan, 0, 0, 0)
    low, high = _interval(other - one, level, count, rng)
    if shares and np.array_equal(one, other):
        high = 1 - (1 - level) ** (1 / n)
        low = -high
    return Difference(
        name, float(one.mean()), float(other.mean()), low, high, n,
        int(np.count_nonzero(one > other)), int(np.count_nonzero(other > one)),
    )  # fmt: skip


def _interval(
    differences: Array, level: float, count: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percentile bootstrap of the mean: equal differences are drawn together, as their number."""
    values, times = np.unique(differences, return_counts=True)
    n, step = len(differences), max(1, DRAWS // len(values))
    means = [
        rng.multinomial(n, times / n, size=min(step, count - done)) @ values / n
        for done in range(0, count, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _doubts(a: Samples, b: Samples) -> Iterator[str]:
    keys = [k for k in {**a.settings, **b.settings} if k not in SILENT]
    differing = [k for k in keys if str(a.settings.get(k)) != str(b.settings.get(k))]
    if differing:
        told = ", ".join(f"{k} {a.settings.get(k)} and {b.settings.get(k)}" for k in differing)
        yield f"the attacks differ too, not the models alone: {told}"
    if a.kind == "attack" and str(a.settings.get("eps")) != str(b.settings.get("eps")):
        yield f"the budgets differ: eps {a.settings.get('eps')} and {b.settings.get('eps')}"
    if not (a.data and b.data):
        yield "nothing says that both saw the same samples: that is taken on trust"
