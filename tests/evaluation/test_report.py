"""The page: self-contained, escaped, and its pictures show the numbers they were made from."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pertcore.evaluation.pictures import Picture, delta_uri, is_image, value_uri
from pertcore.evaluation.report import (
    Chart,
    Gallery,
    Report,
    Table,
    plotted,
    render,
    shown,
    write_report,
)

VOID = {"meta", "img", "line", "circle", "polyline", "br", "link", "input", "hr"}


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

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, (tag, self.open)
            self.open.pop()


def a_report(title: str = "A run") -> Report:
    picture = Picture("Sample 0: 3 to 5", ((value_uri(np.eye(4)[None], 0, 1), "clean"),), True)
    return Report(
        title,
        "What was done.",
        "pertcore attack 'a b.onnx'",
        [Table("Summary", (), [("fooled", "3")]), Table("T", ("a", "b"), [("x", "1")], "note")],
        [Chart("Over eps", "eps", [("pgd", [(0.0, 0.0), (0.1, 0.5), (0.2, float("nan"))])])],
        [Gallery("Samples", [picture])],
        ["the gradient was zero"],
        {"version": "1"},
    )


def test_page_is_balanced_and_reaches_nowhere() -> None:
    page = render(a_report())
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert parser.links and all(link.startswith("data:image/png") for link in parser.links)
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    for part in ("the gradient was zero", "Sample 0: 3 to 5", "pertcore attack", "viewport",
                 "prefers-color-scheme: dark"):  # fmt: skip
        assert part in page


def test_balance_sees_a_missing_tag() -> None:
    with pytest.raises(AssertionError):
        Balance().feed("<div><p></div></p>")


def test_values_are_escaped() -> None:
    page = render(a_report("<script>alert(1)</script>"))
    assert "<script" not in page and "&lt;script&gt;" in page


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
    drawn = plotted(Chart("c", "eps", [("a", [(0.0, 0.0), (0.2, 1.0), (0.1, float("nan"))])]))
    origin, top, right = drawn["axis"]
    assert drawn["lines"][0]["spots"] == [origin, (right[0], top[1])]
    assert [text for _, text in drawn["x_ticks"]] == ["0", "0.1", "0.2"]


def test_shown() -> None:
    assert [shown(v) for v in (float("nan"), 0.123456, 3, "x")] == ["-", "0.1235", "3", "x"]
