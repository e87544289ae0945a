"""Results in a notebook: figures show the numbers, tables are escaped, absence is told."""

import sys
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import BackendError
from pertcore.notebook import histogram_figure, html_table

X = np.random.default_rng(0).normal(size=(40, 6))
MODEL = pc.from_matrix(np.random.default_rng(1).normal(size=(3, 6)))


@pytest.fixture(autouse=True)
def agg(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")


def made(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "curve":
            return pc.curve(MODEL, X, eps=[0, 0.1, 0.2, 0.5])
        if name == "robustness":
            return pc.robustness(MODEL, X, norm=2)
        own = {"fixed": {"eps": 0.2}, "smallest": {"attack": "deepfool"},
               "regression": {"eps": 0.2, "task": "regression"}}  # fmt: skip
        return pc.attack(MODEL, X, **own[name])


NAMES = ["fixed", "smallest", "regression", "curve", "robustness"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_returned_and_not_left_open(name, tmp_path):
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    figure = made(name).plot()
    assert isinstance(figure, Figure) and pyplot.get_fignums() == []
    figure.savefig(tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5000


def test_the_curve_shows_its_shares():
    c = made("curve")
    (line,) = c.plot().axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), np.stack([c.eps, c.robust_accuracy], axis=1))


def test_histograms_count_all():
    r = made("fixed")
    axes = r.plot().axes[0]
    heights = sum(bar.get_height() for bar in axes.patches)
    assert heights == np.count_nonzero(r.attackable & np.isfinite(r.margin))


def test_the_fooled_stand_left_of_zero():
    axes = made("fixed").plot().axes[0]
    fooled, kept = axes.containers
    assert sum(bar.get_height() for bar in fooled if bar.get_x() > -1e-9) == 0
    assert sum(bar.get_height() for bar in kept if bar.get_x() < -1e-9) == 0


def test_nothing_to_count_is_drawn():
    histogram_figure("t", "x", {"fooled": np.zeros(0), "kept": np.array([np.nan, np.inf])})


@pytest.mark.parametrize("name", NAMES)
def test_tables(name):
    found = made(name)
    page = found._repr_html_()
    assert page.count("<tr>") == page.count("</tr>") > 3 and len(page) < 6000


def test_tables_are_escaped():
    page = html_table(("<i>",), [("<script>",)], ["a & <b>"])
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &amp; &lt;b&gt;" in page
    assert "<i>" not in page and "<b>Warnings</b>" in page


@pytest.mark.parametrize("name", ["fixed", "curve", "robustness"])
def test_without_matplotlib(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendError, match="pertcore\\[cli\\]"):
        made(name).plot()
