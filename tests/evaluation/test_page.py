"""A page is drawn from its folder alone, its figures are those of the run, and damage is named."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from pertcore.cli.app import main
from pertcore.errors import InputError
from pertcore.evaluation.charts import Chart, Histogram
from pertcore.evaluation.page import page_of
from pertcore.evaluation.page_parts import per_class
from pertcore.evaluation.reading import as_result, as_robustness, read_run
from pertcore.evaluation.records import write_results
from pertcore.evaluation.report import Report, Share, render
from tests.evaluation.folders import (
    COUNT,
    attack_folder,
    curve_folder,
    robustness_folder,
)


def cards(page: Report) -> dict[str, str]:
    return {card.name: card.value for card in page.cards}


def test_pages_of_attacks_are_rebuilt_to_the_byte(tmp_path: Path) -> None:
    out = attack_folder(tmp_path, "--eps", "0.1")
    page = out / "report.html"
    drawn = page.read_text()
    page.unlink()
    assert main(["report", str(out)]) == 0
    assert page.read_text() == drawn


def test_nothing_but_three_files_is_read(tmp_path: Path) -> None:
    out = attack_folder(tmp_path, "--eps", "0.1")
    drawn = render(page_of(out))
    for name in ("x_adv.npy", "report.html"):
        (out / name).unlink()
    for name in ("x.npy", "y.npy"):
        (tmp_path / name).unlink()
    assert render(page_of(out)) == drawn


@pytest.mark.parametrize(
    ("flags", "regression"),
    [(("--eps", "0.1"), False), (("--attack", "deepfool"), False),
     (("--eps", "0.15", "--target", "3"), False), (("--eps", "0.1"), True)],
)  # fmt: skip
def test_the_rows_give_the_summary_that_the_run_wrote(
    flags: tuple[str, ...], regression: bool, tmp_path: Path
) -> None:
    out = attack_folder(tmp_path, *flags, regression=regression)
    kept = read_run(out)
    if kept.facts["samples_left_out"]:
        kept = kept.part(kept.row("label") != kept.row("target"))
    found, written = as_result(kept).summary(), kept.facts["summary"]
    assert list(found) == list(written)
    # of the whole run here, and of the attack alone there
    assert found.pop("seconds") >= written["seconds"]
    for name, value in found.items():
        if isinstance(value, float) and math.isfinite(value):
            assert value == pytest.approx(written[name], rel=1e-12), name
        elif not isinstance(value, float):
            assert str(value) == str(written[name]), name


def test_a_page_of_one_budget_shows_margins_and_no_curve(tmp_path: Path) -> None:
    page = page_of(attack_folder(tmp_path, "--eps", "0.1"))
    (chart,) = page.charts
    assert isinstance(chart, Histogram) and chart.sides == ("fooled", "kept")
    assert page.galleries[0].filters and len(page.galleries[0].pictures) == 12
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert cards(page)["Robust accuracy"] == f"{100 * facts['summary']['robust accuracy']:.1f} %"
    assert cards(page)["Fooling ratio"] == f"{100 * facts['summary']['fooling ratio']:.1f} %"
    for name in ("model sha256", "data sha256", "versions", "machine"):
        assert page.facts[name]


def test_a_minimum_norm_attack_shows_a_curve(tmp_path: Path) -> None:
    out = attack_folder(tmp_path, "--attack", "deepfool")
    line, bars = page_of(out).charts
    assert isinstance(line, Chart) and isinstance(bars, Histogram)
    rows = read_run(out).rows
    points = dict(line.lines[0].points)
    for eps in list(points)[::20]:
        stays = (rows["status"] != "CLEAN_ERROR") & ~(rows["success"] & (rows["norm"] <= eps))
        assert points[eps] == pytest.approx(stays.mean())
    assert sum(bars.counts) == rows["success"].sum()


def test_a_regression_shows_losses_and_signals(tmp_path: Path) -> None:
    page = page_of(attack_folder(tmp_path, "--eps", "0.1", regression=True))
    assert {"Mean loss after", "Mean output PSNR", "Mean input PSNR"} <= set(cards(page))
    assert [chart.title for chart in page.charts] == ["Output PSNR under attack",
                                                      "Loss under attack"]  # fmt: skip
    assert not page.galleries[0].filters


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curve_folder(tmp_path_factory.mktemp("curve"), "--attack", "fgsm")


@pytest.fixture
def copied(curve_run: Path, tmp_path: Path) -> Path:
    """A curve's folder that a test may damage."""
    shutil.copytree(curve_run, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html"))
    return tmp_path / "copy"


def test_a_curve(curve_run: Path) -> None:
    page = page_of(curve_run)
    rows = parquet.read_table(curve_run / "results.parquet").to_pydict()
    right, norms = np.array(rows["attackable"]), np.array(rows["norm"])
    line = page.charts[0]
    assert isinstance(line, Chart)
    for eps, share in line.lines[0].points:
        assert share == pytest.approx(np.mean(right & (norms > eps)))
    for (_, share), (low, high) in zip(line.lines[0].points, line.lines[0].band, strict=True):
        assert low <= share <= high and high - low > 0.01
    facts = json.loads((curve_run / "run.json").read_text())
    assert list(page.warnings) == facts["warnings"]
    assert len(page.details[0].rows) == 11 and page.command == facts["command"]
    assert page.command.startswith("pertcore curve ")
    classes, ended = page.tables[0], page.tables[1]
    assert sum(int(str(row[1])) for row in classes.rows) == COUNT
    assert sum(int(str(row[1])) for row in ended.rows) == COUNT
    assert render(page) == (curve_run / "report.html").read_text()


def test_samples_of_a_curve_go_from_the_weakest_to_the_strongest(curve_run: Path) -> None:
    rows = parquet.read_table(curve_run / "results.parquet").to_pydict()
    (shown,) = page_of(curve_run).galleries
    norms = [rows["norm"][int(picture.title.split()[1].strip(":"))] for picture in shown.pictures]
    finite = [norm for norm in norms if math.isfinite(norm)]
    assert finite == sorted(finite) and min(norms) > 0
    known = [n for n, right in zip(rows["norm"], rows["attackable"], strict=True) if right]
    assert finite[0] == min(known) and finite[-1] == max(n for n in known if math.isfinite(n))
    assert [p.fooled for p in shown.pictures] == [math.isfinite(norm) for norm in norms]
    assert len(finite) == 9 and 0 < len(norms) - len(finite) <= 3


def test_a_regression_curve_shows_signals_and_outputs(tmp_path: Path) -> None:
    out = curve_folder(tmp_path, regression=True)
    page = page_of(out)
    signal, loss = page.charts
    assert isinstance(signal, Chart) and isinstance(loss, Chart)
    assert signal.title == "Mean output PSNR (dB) over eps" and signal.span is not None
    rows = parquet.read_table(out / "results.parquet").to_pydict()
    for place, (_, value) in enumerate(loss.lines[0].points):
        assert value == pytest.approx(np.mean(rows[f"loss_{place}"]))
    (shown,) = page.galleries
    assert all(len(picture.images) == 5 for picture in shown.pictures) and not shown.filters
    assert len(page.details[0].rows) == 11
    assert page.details[0].rows[0][3] == "-"  # an unchanged output has no finite PSNR


def test_robustness(tmp_path: Path) -> None:
    out = robustness_folder(tmp_path)
    page, found = page_of(out), as_robustness(read_run(out))
    shown = cards(page)
    assert shown["rho1"] == f"{found.rho1:.4g}" and shown["eps99"] == f"{found.eps99:.4g}"
    line = page.charts[0]
    assert isinstance(line, Chart) and [one.name for one in line.lines] == ["found", "linear model"]


def test_classes_are_counted() -> None:
    label = np.array([0, 0, 0, 1, 1])
    right = np.array([True, True, False, True, True])
    robust = np.array([True, False, False, False, False])
    seen = np.array([-1, 1, -1, 7, 7])
    norms = np.array([0.5, 0.2, 0.0, 0.1, 0.3])
    table = per_class(label, right, {"robust": robust}, norms, seen)
    assert [[str(cell) for cell in row] for row in table.rows] == [
        ["0", "3", "66.7 %", "33.3 %", "0.2", "1 (100 %)"],
        ["1", "2", "100.0 %", "0.0 %", "0.2", "7 (100 %)"],
    ]
    assert isinstance(table.rows[0][2], Share)


def test_many_classes_show_the_least_robust() -> None:
    label = np.arange(100)
    robust = label >= 40
    table = per_class(label, label >= 0, {"robust": robust}, np.ones(100), np.zeros(100, int))
    assert [row[0] for row in table.rows] == [str(k) for k in range(40)]
    assert "40 least robust of 100" in table.note


def test_samples_that_are_no_pictures(copied: Path) -> None:
    out = copied
    with np.load(out / "examples.npz") as file:
        parts = {name: file[name] for name in file.files}
    count = len(parts["x"])
    parts |= {"x": np.zeros((count, 4)), "x_adv": np.tile([0.0, 0.5, -0.7, 0.1], (count, 1))}
    np.savez(out / "examples.npz", **parts)
    page = page_of(out)
    assert not page.galleries
    assert page.tables[-1].rows[0][3] == "[2] 0 to -0.7, [1] 0 to 0.5, [3] 0 to 0.1"


def rewrite(**changes: Any) -> Any:
    def change(out: Path) -> None:
        facts = json.loads((out / "run.json").read_text())
        (out / "run.json").write_text(json.dumps(facts | changes))

    return change


def test_what_is_missing_is_said(copied: Path) -> None:
    out = copied
    rewrite(complete=False, samples_asked=100)(out)
    (out / "examples.npz").unlink()
    told = " ".join(page_of(out).warnings)
    assert f"{COUNT} of 100" in told and "--resume" in told and "examples.npz is missing" in told


def cut(name: str, size: int) -> Any:
    return lambda out: (out / name).write_bytes((out / name).read_bytes()[:size])


def without(column: str) -> Any:
    def change(out: Path) -> None:
        table = parquet.read_table(out / "results.parquet").drop([column])
        parquet.write_table(table, out / "results.parquet")

    return change


DAMAGE = {
    "no run.json": (lambda out: (out / "run.json").unlink(), "run.json is missing"),
    "no rows": (lambda out: (out / "results.parquet").unlink(), "results.parquet is missing"),
    "half a run.json": (cut("run.json", 300), "run.json cannot be read"),
    "half a table": (cut("results.parquet", 900), "results.parquet cannot be read"),
    "half the examples": (cut("examples.npz", 900), "examples.npz cannot be read"),
    "another kind": (rewrite(kind="dance"), "kind 'dance'"),
    "not an object": (lambda out: (out / "run.json").write_text("[]"), "kind None"),
    "at work": (rewrite(status="running"), "--resume"),
    "no settings": (rewrite(settings=None), "lacks settings"),
    "no budgets": (rewrite(settings={}), "no budgets"),
    "no column": (without("norm"), "no column 'norm'"),
    "an empty table": (
        lambda out: write_results(out / "results.parquet", [{"norm": np.zeros(0)}]),
        "has no rows",
    ),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_is_one_clear_line(
    damage: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied
    change, told = DAMAGE[damage]
    change(out)
    with pytest.raises(InputError, match=told):
        page_of(out)
    assert main(["report", str(out)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (out / "report.html").exists()


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
