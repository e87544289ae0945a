"""How results look in a notebook: figures of plain arrays, and a small table as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from pertcore.errors import BackendError
from pertcore.oracle import Array

BINS = 30
Line = tuple[str, Sequence[tuple[float, float]], Sequence[tuple[float, float]]]


def lines_figure(title: str, x_label: str, lines: Iterable[Line]) -> Any:
    """A matplotlib figure of shares over x: (name, points (x, y), band (low, high) a point or
    none) a line. Raises BackendError where matplotlib is missing."""
    figure, axes = _subplots(title, x_label)
    named = False
    for name, points, band in lines:
        x, y = np.array(points).T
        (drawn,) = axes.plot(x, y, label=name or None)
        if len(band):
            low, high = np.array(band).T
            axes.fill_between(x, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
        named = named or bool(name)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    if named:
        axes.legend()
    return figure


def histogram_figure(title: str, x_label: str, parts: Mapping[str, Array]) -> Any:
    """A matplotlib figure of the finite values of each part, (n,), in common bins. Raises
    BackendError where matplotlib is missing."""
    figure, axes = _subplots(title, x_label)
    finite = {name: values[np.isfinite(values)] for name, values in parts.items()}
    bins = _edges(np.concatenate(list(finite.values())))
    for name, values in finite.items():
        axes.hist(values, bins, alpha=0.75, label=f"{name}: {len(values)}")
    axes.set_ylabel("samples")
    axes.legend()
    return figure


def _edges(values: Array) -> Array:
    """Edges of bins of equal width, with 0 among them where it lies inside: what is fooled stands
    left of it."""
    edges = np.histogram_bin_edges(values, BINS)
    if edges[0] >= 0 or edges[-1] <= 0:
        return edges
    width = (edges[-1] - edges[0]) / BINS
    return width * np.arange(np.floor(edges[0] / width), np.floor(edges[-1] / width) + 2)


def _subplots(title: str, x_label: str) -> tuple[Any, Any]:
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise BackendError(
            "plot() needs matplotlib, which is not installed: pip install 'pertcore[cli]'"
        ) from error
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    # a notebook shows what a cell returns, and would show an open figure once more
    pyplot.close(figure)
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.3)
    return figure, axes


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], warnings: Iterable[str] = ()
) -> str:
    """A table of texts, and the warnings above it; all of it escaped."""
    told = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    above = f"<p><b>Warnings</b></p><ul>{told}</ul>" if told else ""
    head = f"<thead>{_row('th', header)}</thead>" if header else ""
    body = "".join(_row("td", row) for row in rows)
    return f"<div>{above}<table>{head}<tbody>{body}</tbody></table></div>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"
