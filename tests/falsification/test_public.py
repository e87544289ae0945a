"""Instances of verification competitions with the verdicts that their tools agreed on."""

import csv
import os
from pathlib import Path

import pytest

import pertcore as pc
from tests.falsification.checker import check

FULL = bool(os.environ.get("PERTCORE_FULL"))
DATA = Path(os.environ.get("PERTCORE_DATA", Path(__file__).parents[2] / "../shared/data"))
LIST = DATA / "vnncomp" / "instances_ground_truth.csv"
pytestmark = pytest.mark.skipif(not LIST.is_file(), reason=f"{LIST} is not there")


def instances(verdict, every):
    """(model, property) of each instance with that verdict, of every so many unless in full."""
    if not LIST.is_file():
        return []
    with LIST.open() as file:
        rows = [row for row in csv.DictReader(file) if row["verdict"] == verdict]
    pairs = [(DATA / row["onnx"], DATA / row["vnnlib"]) for row in rows]
    return [
        pytest.param(*pair, id=f"{pair[0].stem}-{pair[1].name.partition('.vnnlib')[0]}")
        for pair in (pairs if FULL else pairs[::every])
    ]


@pytest.mark.parametrize(("model", "file"), instances("sat", 4))
def test_counterexamples_are_found_and_replay(model, file):
    found = pc.falsify(model, file, timeout=20.0)
    assert found.verdict == "sat"
    check(model, file, found.text())


@pytest.mark.parametrize(("model", "file"), instances("unsat", 12))
def test_nothing_is_claimed_where_nothing_is(model, file):
    assert pc.falsify(model, file, timeout=1.0).verdict in ("unknown", "timeout")
