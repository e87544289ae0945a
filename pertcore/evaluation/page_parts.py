"""Charts and tables of pages, made of plain arrays with a row a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.evaluation.charts import Chart, Histogram, Series, histogram
from pertcore.evaluation.intervals import wilson
from pertcore.evaluation.pictures import Example
from pertcore.evaluation.report import Share, Table, percent, shown
from pertcore.notebook import lines_figure
from pertcore.oracle import Array
from pertcore.result import ADVICE, AttackResult, Status

POINTS, CLASSES, FEATURES = 121, 40, 3
# A chart of smallest norms ends a little after this share of them: the last few may be far away.
DRAWN = 0.99
MEAN_BAND = (
    "The band is the 95 % interval of the mean (Student), of the samples where it is finite."
)
BAND = "The band is the 95 % interval (Wilson 1927): what another sample of this size could show."


def with_interval(count: int, n: int) -> tuple[str, str]:
    """A share in per cent, and what stands below it: the count and its 95 % interval."""
    share = count / n if n else float("nan")
    low, high = (percent(float(end)) for end in wilson(share, n))
    return percent(share), f"{count} of {n}; 95 % interval {low} to {high}"


def curve_chart(
    norms: Array, attackable: Array, norm: str, *, at: Array | None = None,
    linear: Array | None = None,
) -> Chart:  # fmt: skip
    """Robust accuracy over eps with its band, from the smallest norm of each sample, (n,).

    at: the budgets of the run; None: equal steps up to nearly all of the norms. linear: (n,) what
    the linear model admits, drawn beside it.
    """
    found = norms[attackable & np.isfinite(norms)]
    if at is None:
        at = np.linspace(0, 1.1 * float(np.quantile(found, DRAWN)) if len(found) else 1.0, POINTS)
    share = _standing(norms, attackable, at)
    low, high = wilson(share, len(norms))
    lines = [Series("found", _points(at, share), list(zip(low.tolist(), high.tolist())), "above")]
    if linear is None:
        lines = [Series("", lines[0].points, lines[0].band)]
        return Chart("Robust accuracy over eps", f"eps ({norm})", lines, BAND)
    estimate = Series("linear model", _points(at, _standing(linear, attackable, at)), (), "below")
    note = f"{BAND} The linear model is an estimate at x (Theorem 1), not a bound."
    return Chart("Robust accuracy over eps", f"eps ({norm})", [*lines, estimate], note)


def figure(chart: Chart) -> Any:
    """The chart as a matplotlib figure. Raises BackendError where matplotlib is missing."""
    lines = [(line.name, line.points, line.band) for line in chart.lines]
    return lines_figure(chart.title, chart.x_label, lines, shares=chart.span is None)


def _standing(norms: Array, attackable: Array, at: Array) -> Array:
    """(m,) share of all samples that are right and need more than each budget."""
    held = np.sort(norms[attackable])
    return (len(held) - np.searchsorted(held, at, side="right")) / max(len(norms), 1)


def _points(xs: Array, ys: Array) -> list[tuple[float, float]]:
    return list(zip(xs.tolist(), ys.tolist()))


def smallest(norms: Array, attackable: Array, norm: str) -> Histogram:
    """How many samples were fooled by how much."""
    found = norms[attackable & np.isfinite(norms)]
    never = int(np.count_nonzero(attackable)) - len(found)
    note = "Of the samples that were right before. The smallest found; less may be enough."
    if never:
        note += f" Not drawn: {never} that nothing fooled."
    return histogram("Smallest norms", norm, found, note=note)


def margins(result: AttackResult) -> Histogram:
    """The margins after an attack of one budget, which are what it has to tell."""
    note = (
        "True score less the best other, or as a targeted attack counts it, of the samples that "
        "were right before. An attack within one budget says nothing of smaller ones: "
        "pertcore.curve does."
    )
    return histogram(
        "Margins under attack", "margin", result.margin[result.attackable], split=0.0,
        sides=("fooled", "kept"), note=note,
    )  # fmt: skip


def mean_chart(title: str, norm: str, eps: Array, mean: Array, low: Array, high: Array) -> Chart:
    """A mean over eps with its band, on an axis of its own."""
    known = np.concatenate([mean, low, high])
    known = known[np.isfinite(known)]
    span = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    line = Series("", _points(eps, mean), list(zip(low.tolist(), high.tolist())))
    return Chart(title, f"eps ({norm})", [line], MEAN_BAND, span)


def driven_budgets(
    eps: Array, loss: Array, psnr: Array, low: Array, high: Array, success: Array
) -> Table:
    """A row a budget of a regression."""
    rows = [
        (f"{e:.5g}", shown(float(mean)), shown(float(p)),
         f"{shown(float(a))} to {shown(float(b))}" if np.isfinite(a) else "-",
         percent(float(share)))
        for e, mean, p, a, b, share in zip(eps, loss, psnr, low, high, success, strict=True)
    ]  # fmt: skip
    header = ("eps", "mean loss", "output PSNR, dB", "95 % interval", "success")
    return Table("Budgets", header, rows, left=())


def budgets(eps: Array, robust: Array, low: Array, high: Array, ratio: Array) -> Table:
    """A row a budget."""
    rows = [
        (f"{e:.5g}", Share(float(r)), f"{percent(float(a))} to {percent(float(b))}",
         percent(float(q)))
        for e, r, a, b, q in zip(eps, robust, low, high, ratio, strict=True)
    ]  # fmt: skip
    header = ("eps", "robust accuracy", "95 % interval", "fooling ratio")
    return Table("Budgets", header, rows, left=())


def per_class(
    label: Array, attackable: Array, standing: dict[str, Array], norms: Array, seen: Array
) -> Table:
    """A row a class of `label`, (n,), the least robust first where there are many.

    standing: column -> (n,) bool, who is still right; norms: of what fools, whatever it is where
    nothing does; seen: (n,) the wrong class, -1 where none.
    """
    rows, order = [], []
    for one in np.unique(label).tolist():
        own = label == one
        shares = [float(np.mean(kept[own])) for kept in standing.values()]
        fooled = own & attackable & (seen >= 0)
        order.append((shares or [float(np.median(norms[fooled])) if fooled.any() else np.inf])[-1])
        row = [str(one), str(int(own.sum())), Share(float(np.mean(attackable[own])))]
        rows.append([*row, *map(Share, shares), shown(_middle(norms[fooled])), _mode(seen[fooled])])
    header = ["class", "samples", "right before", *standing, "median norm", "mostly seen as"]
    kept = np.sort(np.argsort(order, kind="stable")[:CLASSES])
    note = "The norm is that of the samples that were fooled."
    if len(rows) > CLASSES:
        note += f" The {CLASSES} least robust of {len(rows)} classes."
    return Table("Classes", header, [rows[k] for k in kept], note)


def _mode(values: Array) -> str:
    if not len(values):
        return "-"
    names, counts = np.unique(values, return_counts=True)
    return f"{names[np.argmax(counts)]} ({100 * counts.max() / len(values):.0f} %)"


def _middle(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def spread(columns: dict[str, Array]) -> Table:
    """Means and quantiles of the finite values of each column, (n,)."""
    levels = (0.1, 0.5, 0.9)
    rows = []
    for name, values in columns.items():
        finite = values[np.isfinite(values)]
        figures = [np.mean(finite), *np.quantile(finite, levels)] if len(finite) else [np.nan] * 4
        rows.append((name, *(shown(float(v)) for v in figures), str(len(finite))))
    return Table("Figures over the samples", ("", "mean", "10 %", "median", "90 %", "finite"), rows)


def endings(result: Any) -> list[tuple[str, str, str]]:
    """(status, samples, what it means), a row a status that occurred; of anything with `status`."""
    return [
        (Status(code).name, str(count), ADVICE[Status(code)])
        for code, count in zip(*np.unique(result.status, return_counts=True), strict=True)
    ]


def changes(examples: Sequence[Example]) -> Table:
    """Samples that are no pictures: which features moved most."""
    rows = []
    for example in examples:
        x, moved = example.x.ravel(), example.delta.ravel()
        most = np.argsort(-np.abs(moved), kind="stable")[:FEATURES]
        told = ", ".join(f"[{k}] {x[k]:.4g} to {x[k] + moved[k]:.4g}" for k in most if moved[k])
        classes = (example.before, example.after) if example.before >= 0 else ("-", "-")
        rows.append((str(example.index), *map(str, classes), told or "none"))
    header = ("sample", "before", "after", "features that moved most")
    return Table("Samples", header, rows, "Features counted from 0 in the flattened sample.",
                 left=(3,))  # fmt: skip


def ended(result: Any) -> Table:
    """How many samples have each status."""
    return Table(
        "How the samples ended", ("status", "samples", "what it means"), endings(result),
        left=(0, 2),
    )  # fmt: skip


def cost(calls: Any, n: int, seconds: float) -> tuple[str, str]:
    """Units a sample, and what stands below them."""
    units = (calls.f + calls.vjp + calls.jvp) / max(2 * n, 1)
    told = f"units of a forward and a backward run; {seconds:.3g} s in all"
    return f"{units:.1f}", told


def norm_of(facts: dict[str, Any]) -> str:
    """The norm of a run, from its run.json."""
    return f"l{facts.get('settings', {}).get('norm', '?')}"
