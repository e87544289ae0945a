"""One self-contained HTML page about a run: tables, warnings, pictures, the command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pertcore.evaluation.pictures import Picture
from pertcore.evaluation.records import write_text

TEMPLATE = "report.html.jinja"
LEFT, RIGHT, TOP, BOTTOM = 48.0, 24.0, 12.0, 36.0
WIDTH, HEIGHT = 560.0, 260.0


@dataclass(frozen=True)
class Table:
    """A titled table of cells that are shown as they are; `left` lists the columns of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    left: Sequence[int] = (0,)


@dataclass(frozen=True)
class Chart:
    """Lines over a common x axis, y in [0, 1]: (name, points) each."""

    title: str
    x_label: str
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]


@dataclass(frozen=True)
class Gallery:
    """A titled set of pictures."""

    title: str
    pictures: Sequence[Picture]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What a page shows, in order: tables and charts, warnings, galleries, the command, facts."""

    title: str
    lead: str
    command: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    galleries: Sequence[Gallery] = ()
    warnings: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Write the page; it needs no network, no script and no other file."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """The page as text; every value is escaped."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("pertcore.evaluation").joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn = [plotted(chart) for chart in report.charts]
    return environment.from_string(source).render(report=report, charts=drawn)


def plotted(chart: Chart) -> dict[str, Any]:
    """Coordinates of a chart's axes, ticks and lines in the units of its drawing."""
    xs = [x for _, points in chart.lines for x, _ in points]
    top = max(xs, default=1.0) or 1.0
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + across * x / top, 1), round(TOP + down * (1 - y), 1)

    return {
        "title": chart.title,
        "x_label": chart.x_label,
        "size": (WIDTH, HEIGHT),
        "axis": (place(0, 0), place(0, 1), place(top, 0)),
        "x_ticks": [(place(x, 0), f"{x:g}") for x in sorted(set(xs))],
        "y_ticks": [(place(0, y / 4), f"{25 * y} %") for y in range(5)],
        "lines": [_line(name, points, place) for name, points in chart.lines],
    }


def _line(name: str, points: Sequence[tuple[float, float]], place: Any) -> dict[str, Any]:
    spots = [place(x, y) for x, y in points if math.isfinite(y)]
    return {"name": name, "spots": spots, "path": " ".join(f"{x},{y}" for x, y in spots)}


def shown(value: Any) -> str:
    """A figure for a table: four digits, a dash for NaN."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)
