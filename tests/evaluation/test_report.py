"""The page: self-contained, escaped, and its pictures show the numbers they were made from."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pertcore.evaluation.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Histogram,
    Series,
    drawn,
    histogram,
    ticks,
)
from pertcore.evaluation.pictures import Picture, delta_uri, is_image, value_uri
from pertcore.evaluation.report import (
    Card,
    Gallery,
    Report,
    Share,
    Table,
    percent,
    render,
    shown,
    write_report,
)

VOID = {"meta", "img", "line", "polygon", "polyline", "link"}


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        image.verify()
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image)


class Balance(HTMLParser):
    """Raises where a tag is closed that is not open; keeps attributes that could reach out."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, tag

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, (tag, self.open)
            self.open.pop()


def a_report(title: str = "A run") -> Report:
    picture = Picture("Sample 0: 3 to 5", ((value_uri(np.eye(4)[None], 0, 1), "clean"),), True, "3")
    line = Series("pgd", [(0.0, 0.0), (0.1, 0.5), (0.2, float("nan"))])
    return Report(
        title=title,
        lead="What was done.",
        command="pertcore attack 'a b.onnx'",
        cards=[Card("Fooled", "3", "of 4")],
        charts=[Chart("Over eps", "eps", [line]), histogram("Norms", "l2", np.arange(9.0))],
        tables=[Table("T", ("a", "b"), [("x", Share(0.5))], "note")],
        galleries=[Gallery("Samples", [picture], filters=True)],
        warnings=["the gradient was zero"],
        details=[Table("More", (), [("y", "2")])],
        facts={"version": "1"},
    )


def test_page_is_balanced_and_reaches_nowhere() -> None:
    page = render(a_report())
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.links and all(link.startswith("data:image/png") for link in parser.links)
    assert "http:" not in page and "https:" not in page and "url(" not in page
    assert "default-src 'none'" in page
    for part in ("the gradient was zero", "Sample 0: 3 to 5", "pertcore attack", "viewport",
                 "prefers-color-scheme: dark", "--share: 50.0%"):  # fmt: skip
        assert part in page


def test_balance_sees_a_missing_tag() -> None:
    with pytest.raises(AssertionError):
        Balance().feed("<div><p></div></p>")


def test_values_are_escaped() -> None:
    page = render(a_report("<script>alert(1)</script>"))
    assert page.count("<script") == 1 and "&lt;script&gt;alert(1)" in page


def test_page_without_extras() -> None:
    parser = Balance()
    parser.feed(render(Report("t", "l", "c")))
    assert parser.open == []


def test_write_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", a_report())
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("shape", [(1, 5, 7), (5, 7), (5, 7, 1)])
def test_grey_picture_shows_its_values(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(-1, 3, shape)
    np.testing.assert_array_equal(
        decoded(value_uri(x, -1, 3)), np.round((x.reshape(5, 7) + 1) / 4 * 255)
    )


@pytest.mark.parametrize("first", [True, False])
def test_colour_picture_shows_its_values(first: bool) -> None:
    x = np.random.default_rng(0).random((6, 5, 3))
    given = np.moveaxis(x, -1, 0) if first else x
    np.testing.assert_array_equal(decoded(value_uri(given, 0, 1)), np.round(x * 255))


def test_perturbation_is_scaled_about_grey() -> None:
    delta = np.array([[[-0.02, 0.0], [0.01, 0.02]]])
    uri, peak = delta_uri(delta)
    assert peak == 0.02
    np.testing.assert_array_equal(decoded(uri), [[0, 128], [191, 255]])
    uri, peak = delta_uri(np.zeros((1, 2, 2)))
    assert peak == 0 and (decoded(uri) == 128).all()


@pytest.mark.parametrize(
    ("shape", "image"),
    [((1, 8, 8), True), ((3, 9, 9), True), ((9, 9, 3), True), ((8, 8), True), ((64,), False),
     ((5, 9, 9), False), ((1, 8), False), ((2, 3, 8, 8), False)],
)  # fmt: skip
def test_what_can_be_shown(shape: tuple[int, ...], image: bool) -> None:
    assert is_image(shape) is image


def test_chart_places_points_on_its_axes() -> None:
    points = [(0.0, 0.0), (0.2, 1.0), (0.1, float("nan"))]
    drawing = drawn(Chart("c", "eps", [Series("a", points, named="above")]))
    (_, path), right = drawing.lines[0], WIDTH - RIGHT
    bottom = max(y for _, y, *_ in drawing.grid if y < HEIGHT - 40)
    assert path == f"{LEFT},{bottom} {right},{TOP}"
    assert {"0", "0.1", "0.2", "100 %"} <= {text for *_, text in drawing.texts}
    assert [text for *_, text in drawing.marks] == ["a, 0: 0.0 %", "a, 0.2: 100.0 %"]


def test_a_band_runs_there_and_back() -> None:
    line = Series("a", [(0.0, 0.5), (1.0, 0.5)], [(0.4, 0.6), (0.3, 0.7)], "above")
    (_, path), *_ = drawn(Chart("c", "eps", [line])).areas
    heights = [float(spot.split(",")[1]) for spot in path.split()]
    assert len(heights) == 4 and heights[0] > heights[3] and heights[1] > heights[2]


@pytest.mark.parametrize(
    "ends", [(1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.01), (1.0, 0.0, 0.5, 0.5)]
)
def test_names_at_the_ends_do_not_overlap_and_stay_inside(ends: tuple[float, ...]) -> None:
    lines = [Series(f"n{k}", [(0.0, 0.0), (1.0, y)]) for k, y in enumerate(ends)]
    heights = sorted(y for kind, _, y, _, _ in drawn(Chart("c", "eps", lines)).texts
                     if kind != "tick")  # fmt: skip
    assert heights[0] >= TOP and heights[-1] <= HEIGHT - 40
    assert np.all(np.diff(heights) >= 15.9)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [3.0],
        [0.1] * 50,
        [np.nan, np.inf, 1.0, 2.0],
        [-5e-9, 7e-9],
        [1e6, 1e6 + 1],
        [0.0, 1e308],
    ],
)
def test_histogram_counts_every_finite_value(values: list[float]) -> None:
    found = histogram("h", "x", np.array(values))
    finite = [v for v in values if np.isfinite(v) and abs(v) < 1e300]
    assert sum(found.counts) == len(finite)
    assert np.all(np.diff(found.edges) > 0) and len(found.counts) < 60
    drawn(found)


def test_histogram_splits_at_an_edge() -> None:
    found = histogram("h", "margin", np.array([-1.2, -0.1, 0.1, 2.3]), split=0.0, sides=("a", "b"))
    assert min(abs(edge) for edge in found.edges) < 1e-12
    drawing = drawn(found)
    kinds = [kind for kind, _, _, _, height, _ in drawing.bars if height > 0]
    assert kinds == sorted(kinds, reverse=True) and set(kinds) == {0, 1}
    assert {"a", "b"} <= {text for *_, text in drawing.texts}


def test_a_histogram_of_nothing_is_drawn() -> None:
    drawn(Histogram("h", "x", [0.0, 1.0], [0]))


@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (0, 0.031), (-3, 7e5), (0.999, 1.001)])
def test_ticks_are_round_and_inside(lo: float, hi: float) -> None:
    found = ticks(lo, hi)
    assert 3 <= len(found) <= 7
    assert all(lo - 1e-9 * hi <= tick <= hi * (1 + 1e-9) for tick in found)


def test_shown() -> None:
    assert [shown(v) for v in (float("nan"), 0.123456, 3, "x")] == ["-", "0.1235", "3", "x"]
    assert [percent(v) for v in (float("nan"), 0.1234)] == ["-", "12.3 %"]
