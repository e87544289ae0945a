"""One self-contained HTML page about a run: figures, charts, tables, pictures, the command."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.evaluation.charts import MARKS, Chart, Histogram, drawn
from pertcore.evaluation.pictures import Picture, value_uri
from pertcore.evaluation.records import write_text

TEMPLATE, STYLE, SCRIPT = "report.html.jinja", "report.css", "report.js"


@dataclass(frozen=True)
class Card:
    """One figure at the head of the page: its name, the figure, and a line on it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Share:
    """A cell with a share in [0, 1] drawn as a bar beside it; none for NaN."""

    value: float

    def __str__(self) -> str:
        return percent(self.value)


@dataclass(frozen=True)
class Table:
    """A titled table of cells that are shown as they are; `left` lists the columns of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Share]]
    note: str = ""
    left: Sequence[int] = (0,)


@dataclass(frozen=True)
class Gallery:
    """A titled set of pictures; filters: whether the page offers to show some of them alone."""

    title: str
    pictures: Sequence[Picture]
    note: str = ""
    filters: bool = False

    def groups(self) -> list[str]:
        """The groups of its pictures, each once, numbers in their order."""
        found = {picture.group for picture in self.pictures} - {""}
        return sorted(found, key=lambda group: (len(group), group))


@dataclass(frozen=True)
class Report:
    """What a page shows, in order: warnings, cards, charts, tables, galleries, the command, and at
    its end the details and facts."""

    title: str
    lead: str
    command: str
    cards: Sequence[Card] = ()
    charts: Sequence[Chart | Histogram] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    warnings: Sequence[str] = ()
    details: Sequence[Table] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Write the page; it needs no network and no other file."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """The page as text; every value is escaped.

    The page forbids itself, by its content security policy, the network and every script but its
    own, which is named by its hash.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = _source(STYLE), _source(SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(_source(TEMPLATE)).render(
        report=report, charts=[drawn(chart) for chart in report.charts], colours=len(MARKS),
        style=style, script=script, digest=digest, icon=_icon(),
        is_share=lambda cell: isinstance(cell, Share) and math.isfinite(cell.value),
    )  # fmt: skip


def _source(name: str) -> str:
    return resources.files("pertcore.evaluation").joinpath(name).read_text("utf-8")


def _icon() -> str:
    """A grey square with one pixel perturbed: without an icon, a browser asks the server."""
    pixels = np.full((4, 4), 0.35)
    pixels[1, 2] = 1.0
    return value_uri(pixels, 0, 1)


def shown(value: Any) -> str:
    """A figure for a table: four digits, a dash for NaN."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def percent(value: float) -> str:
    """A share in per cent with one decimal, a dash for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"
