"""Charts as shapes on a drawing of fixed size: lines with bands, and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pertcore.oracle import Array

# In units of the drawing: narrow, so that its letters can be read when a phone shrinks it.
WIDTH, HEIGHT = 460.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 18.0, 18.0, 48.0
LETTER, LINE = 8.6, 17.0
# With more points than this on a line, marks hide it.
MARKED = 24
BINS = 24
# Beyond it the arithmetic of axes overflows.
LARGEST = 1e300


@dataclass(frozen=True)
class Series:
    """A named line, points (x, y) with y in [0, 1]; band: (low, high) a point; where its name
    stands: at its "end", or "above" or "below" a falling line."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()
    named: str = "end"


@dataclass(frozen=True)
class Chart:
    """Lines over a common x axis that begins at 0; y in [0, 1], shown in per cent."""

    title: str
    x_label: str
    lines: Sequence[Series]
    note: str = ""


@dataclass(frozen=True)
class Histogram:
    """counts[k] samples between edges[k] and edges[k + 1]; split: where the two named sides
    meet, None for one kind of bar."""

    title: str
    x_label: str
    edges: Sequence[float]
    counts: Sequence[int]
    note: str = ""
    split: float | None = None
    sides: tuple[str, str] = ("", "")


@dataclass
class Drawing:
    """Shapes in the units of the drawing, as the page writes them; colours by number."""

    title: str
    note: str
    size: tuple[float, float] = (WIDTH, HEIGHT)
    grid: list[tuple[float, float, float, float]] = field(default_factory=list)
    areas: list[tuple[int, str]] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)
    marks: list[tuple[int, str, str]] = field(default_factory=list)
    bars: list[tuple[int, float, float, float, float, str]] = field(default_factory=list)
    texts: list[tuple[str, float, float, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """The rectangle between the axes, and what they measure."""

    x: tuple[float, float]
    y: tuple[float, float]
    right: float = RIGHT

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where (x, y) is on the drawing."""
        across, down = WIDTH - LEFT - self.right, HEIGHT - TOP - BOTTOM
        (x0, x1), (y0, y1) = self.x, self.y
        return (
            round(LEFT + across * (x - x0) / (x1 - x0), 1),
            round(TOP + down * (1 - (y - y0) / (y1 - y0)), 1),
        )


def histogram(title: str, x_label: str, values: Array, *, split: float | None = None,
              **told: object) -> Histogram:  # fmt: skip
    """Counts of the finite values in bins of equal width, round at their edges.

    split is an edge too, where it lies among the values.
    """
    found = values[np.isfinite(values) & (np.abs(values) < LARGEST)]
    lo, hi = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    edges = _round_edges(lo, hi)
    counts = np.histogram(found, edges)[0]
    return Histogram(title, x_label, edges.tolist(), counts.tolist(), split=split, **told)  # type: ignore[arg-type]


def _round_edges(lo: float, hi: float) -> Array:
    if hi - lo <= 1e-9 * max(abs(lo), abs(hi)):
        # one value: a bar about it, that does not look like a spread
        wide = 0.1 * max(abs(lo), abs(hi)) or 0.5
        return np.linspace(lo - 5.5 * wide / 5, lo + 5.5 * wide / 5, 12)
    step = _step((hi - lo) / BINS)
    first, last = math.floor(lo / step), math.floor(hi / step) + 1
    return np.arange(first, last + 1) * step


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= least * (1 - 1e-9))


def ticks(lo: float, hi: float, count: int = 5) -> list[float]:
    """Some `count` round numbers between lo and hi."""
    step = _step((hi - lo) / count)
    first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def drawn(chart: Chart | Histogram) -> Drawing:
    """The shapes of a chart."""
    return _drawn_bars(chart) if isinstance(chart, Histogram) else _drawn_lines(chart)


def _drawn_lines(chart: Chart) -> Drawing:
    drawing = Drawing(chart.title, chart.note)
    xs = [x for line in chart.lines for x, _ in line.points if 0 <= x < LARGEST]
    ends = [line.name for line in chart.lines if line.named == "end"]
    room = 18 + LETTER * max(map(len, ends)) if ends else RIGHT
    frame = Frame((0.0, max(xs, default=0.0) or 1.0), (0.0, 1.0), room)
    _axes(drawing, frame, chart.x_label, [(y / 4, f"{25 * y} %") for y in range(5)])
    finals = []
    for colour, line in enumerate(chart.lines):
        spots = _line(drawing, frame, colour, line)
        if spots and line.named == "end":
            finals.append((colour, line.name, spots[-1]))
        elif spots:
            _name_beside(drawing, colour, line, spots)
    _name_ends(drawing, finals)
    return drawing


def _line(drawing: Drawing, frame: Frame, colour: int, line: Series) -> list[tuple[float, float]]:
    spots = [frame.place(x, y) for x, y in line.points if math.isfinite(y) and x < LARGEST]
    if line.band:
        pairs = list(zip(line.points, line.band, strict=True))
        low = [frame.place(x, a) for (x, _), (a, _) in pairs]
        high = [frame.place(x, b) for (x, _), (_, b) in pairs]
        drawing.areas.append((colour, _path([*low, *reversed(high)])))
    drawing.lines.append((colour, _path(spots)))
    if len(spots) <= MARKED:
        told = [f"{line.name}, {x:.4g}: {100 * y:.1f} %" for x, y in line.points
                if math.isfinite(y) and x < LARGEST]  # fmt: skip
        drawing.marks += [
            (colour, MARKS[colour % len(MARKS)].format(x=x, y=y), text)
            for (x, y), text in zip(spots, told, strict=True)
        ]
    return spots


# A shape a line beside its colour: circle, square, triangle, diamond.
MARKS = (
    "M{x} {y}m-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
    "M{x} {y}m-3.4 -3.4h6.8v6.8h-6.8z",
    "M{x} {y}m0 -4.4l4.2 7.6h-8.4z",
    "M{x} {y}m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
)


def _name_beside(
    drawing: Drawing, colour: int, line: Series, spots: Sequence[tuple[float, float]]
) -> None:
    """The name of a falling line in the free corner: right above it, or left below it."""
    height = {"above": 0.62, "below": 0.34}[line.named]
    wanted = TOP + (HEIGHT - TOP - BOTTOM) * (1 - height)
    x, y = min(spots, key=lambda spot: abs(spot[1] - wanted))
    wide = LETTER * len(line.name)
    if line.named == "above" and x + 12 + wide < WIDTH:
        drawing.texts.append((f"c{colour}", x + 12, max(y - 6, TOP + LINE), "start", line.name))
    else:
        x = max(x - 12, LEFT + wide + 6)
        drawing.texts.append((f"c{colour}", x, min(y + 22, HEIGHT - BOTTOM - 6), "end", line.name))


def _name_ends(drawing: Drawing, finals: list[tuple[int, str, tuple[float, float]]]) -> None:
    """Names at the right ends of their lines, moved apart where they would overlap."""
    room = HEIGHT - BOTTOM + 4 - LINE * (len(finals) - 1)
    y = TOP - LINE
    for place, (colour, name, (x, end)) in enumerate(sorted(finals, key=lambda f: f[2][1])):
        y = min(max(end + 4, y + LINE), room + LINE * place)
        drawing.texts.append((f"c{colour}", x + 10, round(y, 1), "start", name))


def _drawn_bars(chart: Histogram) -> Drawing:
    drawing = Drawing(chart.title, chart.note)
    most = max(chart.counts, default=0) or 1
    marks = [y for y in ticks(0, most * 1.08, 4) if float(y).is_integer()]
    frame = Frame((chart.edges[0], chart.edges[-1]), (0.0, most * 1.08))
    _axes(drawing, frame, chart.x_label, [(y, f"{y:,.0f}") for y in marks])
    for lo, hi, count in zip(chart.edges, chart.edges[1:], chart.counts):
        (x0, y1), (x1, y0) = frame.place(lo, count), frame.place(hi, 0)
        left = chart.split is not None and hi <= chart.split + 1e-9 * abs(hi - lo)
        told = f"{lo:.4g} to {hi:.4g}: {count}"
        drawing.bars.append((int(left), x0 + 0.6, y1, round(x1 - x0 - 1.2, 1), y0 - y1, told))
    if chart.split is not None and chart.edges[0] < chart.split < chart.edges[-1]:
        x, y = frame.place(chart.split, most * 1.08)
        drawing.grid.append((x, y, x, HEIGHT - BOTTOM))
        drawing.texts.append(("c1", x - 8, TOP + 4, "end", chart.sides[0]))
        drawing.texts.append(("c0", x + 8, TOP + 4, "start", chart.sides[1]))
    return drawing


def _axes(
    drawing: Drawing, frame: Frame, x_label: str, y_ticks: Sequence[tuple[float, str]]
) -> None:
    left, bottom = LEFT, HEIGHT - BOTTOM
    right = WIDTH - frame.right
    for value, text in y_ticks:
        _, y = frame.place(frame.x[0], value)
        drawing.grid.append((left, y, right, y))
        drawing.texts.append(("tick", left - 7, y + 4.5, "end", text))
    for value in ticks(*frame.x):
        x, _ = frame.place(value, 0)
        drawing.grid.append((x, bottom, x, bottom + 4))
        drawing.texts.append(("tick", x, bottom + 19, "middle", f"{value:.6g}"))
    drawing.texts.append(("tick", (left + right) / 2, HEIGHT - 7, "middle", x_label))


def _path(spots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in spots)
