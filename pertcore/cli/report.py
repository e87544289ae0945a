"""`pertcore report`: the page of a run, drawn anew."""

from __future__ import annotations

from pathlib import Path

from pertcore.cli.console import say
from pertcore.evaluation.page import page_of
from pertcore.evaluation.report import write_report


def run(folder: Path) -> None:
    """Write report.html into the folder; InputError where its files do not make a page."""
    page = page_of(folder)
    write_report(folder / "report.html", page)
    say(f"written: {folder / 'report.html'}")
