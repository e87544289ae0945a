"""docs/paper.md from bench/results/paper and the figures beside it: written by `make paper`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.page import table
from bench.paper import claims, prose
from bench.paper.claims import PRINTED
from bench.paper.data import WHERE
from bench.paper.draw import LETTERS, TITLES, Results, panel
from bench.paper.jobs import FULL, Job
from bench.paper.verdicts import held_against
from pertcore.evaluation.intervals import wilson


def read(folder: Path, jobs: Sequence[Job]) -> Results:
    """The stored results of the jobs, by name, in their order."""
    files = {job.name: folder / f"{job.name}.json" for job in jobs}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.is_file()}


def page(results: Results, jobs: Sequence[Job], figures: Sequence[str], place: str) -> str:
    """The page of these results, with figures that lie in the folder `place` beside it."""
    machine = next(iter(results.values()))["machine"]
    head = prose.HEAD.format(
        results="bench/results/paper" if jobs is FULL else "a quick run",
        processor=machine["processor"],
    )  # fmt: skip
    if jobs is not FULL:
        head += prose.SAMPLE
    left_out = [job.name for job in jobs if job.name not in results]
    parts = [head, networks(results)]
    for title, text, needs, figure, rows in SECTIONS:
        if any(name.startswith(needs) for name in results):
            drawn = f"![{title}]({place}/{figure})\n\n" if figure in figures else ""
            parts.append(f"## {title}\n\n{text}\n\n{drawn}{rows(results)}".rstrip() + "\n")
    return "\n".join([*parts, held_against(results), absent(left_out)]).rstrip() + "\n"


def networks(results: Results) -> str:
    """A row a network of Table III: how it came, its error beside the printed one."""
    rows = []
    for part in results.values():
        if part["maker"] == "classifier":
            name = part["settings"]["network"]
            printed = PRINTED.get(name, {}).get("test error")
            rows.append(
                (TITLES[name], part["network"], "" if printed is None else f"{printed:.1%}")
            )
    regressions = {
        part["settings"]["network"]: part["network"]
        for part in results.values() if part["maker"] == "regression"
    }  # fmt: skip
    rows += [(TITLES[name], told, "") for name, told in regressions.items()]
    return (
        "## Networks\n\n"
        + prose.NETWORKS
        + "\n\n"
        + table(("network", "ours", "printed error"), rows)
    )


def fooling(results: Results) -> str:
    """Fig. 1 in numbers, at the budget where Algorithm 1-10 fools nearest to one half."""
    columns: list[str] = ["fooled, in per cent"]
    shares: list[dict[str, float]] = []
    for part in claims.classified(results):
        right, eps = part["right"], part["curves"][claims.OURS][claims.middle(part)]["eps"]
        shares.append({
            name: row["fooled"] / right
            for name, rows in part["curves"].items() for row in rows if row["eps"] == eps
        })  # fmt: skip
        half = 50 * np.subtract(*reversed(wilson(shares[-1][claims.OURS], right)))
        columns.append(f"{claims.title(part)}, eps = {eps:g}, {right} images: +- {half:.0f}")
    names = dict.fromkeys(name for share in shares for name in share)
    rows = [(name, *(_percent(share.get(name)) for share in shares)) for name in names]
    return table(columns, rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def robustness(results: Results) -> str:
    """Table III: printed / measured, with the standard errors of the means."""
    rows = []
    for part in results.values():
        if part["maker"] != "classifier":
            continue
        name, found = part["settings"]["network"], part["table"]
        printed = claims.printed(name)
        cells = [
            f"{printed[k]:.3f} / {found[k]:.4f}" if k in printed else f"{found[k]:.4f}"
            for k in ("rho1", "rho2", "eps99")
        ]
        for k in (0, 1):
            cells[k] += f" +- {found[('rho1', 'rho2')[k] + ' error']:.4f}"
        refined = f"{found['rho1 refined']:.4f}, {found['eps99 refined']:.4f}"
        rows.append((TITLES[name], found["samples"], *cells, refined))
    return table(
        ("network", "images", "rho1, printed / here", "rho2", "eps99", "rho1, eps99 refined"), rows
    )


def psnr(results: Results) -> str:
    """Fig. 4 in numbers: mean output PSNR at each eps."""
    parts = []
    for key in LETTERS:
        if key in results:
            part = results[key]
            eps = list(dict.fromkeys(row["eps"] for row in part["rows"]))
            rows = [
                (name, *(_psnr(part["rows"], name, at) for at in eps))
                for name in part["settings"]["attacks"]
            ]
            count = part["settings"]["samples"]
            columns = (f"{panel(key, part)}, {count} pictures", *(f"eps {at:.3g}" for at in eps))
            parts.append(table(columns, rows))
    return "\n".join(parts)


def _psnr(rows: Sequence[dict[str, Any]], name: str, eps: float) -> str:
    found = next(row for row in rows if row["attack"] == name and row["eps"] == eps)
    if found["psnr_out"] is None:
        return "unchanged"
    return f"{found['psnr_out']:.1f} +- {found['half']:.1f}"


def detector(results: Results) -> str:
    """Fig. 5 in numbers, at the largest eps."""
    part = results["fig5"]
    most = max(row["eps"] for row in part["rows"])
    rows = [
        (row["attack"], f"{part['loss']:.1f}", f"{row['loss']:.1f} +- {1.96 * row['error']:.1f}",
         f"{row['lost']} of {row['boxes']}", row["new"])
        for row in part["rows"] if row["eps"] == most
    ]  # fmt: skip
    columns = ("attack", "loss before", f"loss at {most}/255", "boxes lost", "boxes new")
    return table(columns, rows) + "\n![boxes before and after](paper/fig5b.webp)\n"


def closed_forms(results: Results) -> str:
    rows = [
        (row["constraint"], row["problem"], row["solution"], "yes" if row["exact"] else "no",
         f"{row['reached']:.4f}") for row in results["table1"]["rows"]
    ]  # fmt: skip
    columns = ("constraint", "problem", "solution", "exact, printed", "of the optimum, at least")
    return table(columns, rows)


def special_cases(results: Results) -> str:
    rows = []
    for row in results["table2"]["rows"]:
        options = ", ".join(f"{k}={v!r}" for k, v in row["settings"].items())
        apart = "" if row["difference"] is None else f"{row['difference']:.1e}"
        rows.append((row["attack"], f"`{options}`", f"{row['fooled']} of {row['of']}", apart))
    columns = ("attack", "in pertcore", "fooled", "largest difference from Algorithm 1")
    return table(columns, rows)


def absent(names: Sequence[str]) -> str:
    """The jobs that were left out, and where all data can be had."""
    left = f"Left out here, for want of data or of time: {', '.join(names)}.\n\n" if names else ""
    rows = [(data, where) for data, where in WHERE.items()]
    return "## Data\n\n" + left + prose.DATA + "\n\n" + table(("data", "put there"), rows)


# title, what is to be known, the jobs it needs, its picture, its rows.
SECTIONS: tuple[tuple[str, str, str, str, Callable[[Results], str]], ...] = (
    ("Figure 1: fooling ratio against eps", prose.FIG1, "classifier-", "fig1.png", fooling),
    ("Table III: measures of robustness", prose.TABLE3, "classifier-", "", robustness),
    ("Figure 2: fooled images", prose.FIG2, "fig2", "fig2.webp", lambda _: ""),
    ("Figure 3: regressions before and after", prose.FIG3, "fig3", "fig3.webp", lambda _: ""),
    ("Figure 4: output PSNR against input PSNR", prose.FIG4, "fig4", "fig4.png", psnr),
    ("Figure 5: a detector", prose.FIG5, "fig5", "fig5a.png", detector),
    ("Table I: closed forms", prose.TABLE1, "table1", "", closed_forms),
    ("Table II: known attacks as Algorithm 1", prose.TABLE2, "table2", "", special_cases),
)
