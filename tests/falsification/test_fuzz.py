"""Broken properties and models: an error in one line or a right answer, in time."""

import csv
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.falsification.broken import broken
from tests.falsification.checker import check

FULL = bool(os.environ.get("PERTCORE_FULL"))
COUNT, SEED, SECONDS = (2000, 1, 10) if FULL else (60, 0, 10)
FAULTS = ("a fault of pertcore", "Traceback", "Warning")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Rows of results.csv, the folder of the broken pairs, and all that was printed."""
    folder = tmp_path_factory.mktemp("broken")
    pairs = [broken(number, folder, SEED) for number in range(COUNT)]
    listing = folder / "instances.csv"
    listing.write_text("".join(f"{model.name},{file.name}\n" for model, file in pairs))
    command = [sys.executable, "-m", "pertcore.cli.app", "falsify", "--csv", str(listing)]
    flags = ["--rounds", "2", "--timeout", "6", "--jobs", "2", "--out", str(folder / "out")]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    with (folder / "out" / "results.csv").open() as file:
        return list(csv.DictReader(file)), folder, done.stdout + done.stderr


def test_every_one_is_answered_in_one_line_and_in_time(outcome):
    rows, _, printed = outcome
    assert len(rows) == COUNT
    assert not any(fault in printed for fault in FAULTS)
    for row in rows:
        assert row["verdict"] in ("sat", "unknown", "timeout", "error"), row
        assert (row["said"] != "") == (row["verdict"] == "error"), row
        assert "\n" not in row["said"] and len(row["said"]) < 1000, row
        assert not any(fault in row["said"] for fault in FAULTS), row
        assert float(row["seconds"]) < SECONDS, row


def test_what_is_claimed_is_true(outcome):
    rows, folder, _ = outcome
    claimed = [row for row in rows if row["verdict"] == "sat"]
    for row in claimed:
        text = (folder / "out" / "witnesses" / f"{int(row['number']):06d}.txt").read_text()
        check(folder / row["model"], folder / row["spec"], text)
    assert len(claimed) >= COUNT // 20


def test_the_sample_reaches_every_end(outcome):
    """Broken pairs that were all refused, or hardly ever, would test little."""
    counts = Counter(row["verdict"] for row in outcome[0])
    assert counts["error"] >= COUNT // 4 and counts["timeout"] <= COUNT // 20
    said = " ".join(row["said"] for row in outcome[0])
    assert ", line " in said and "cannot be read" in said
    assert "was ended by signal" not in said


def test_a_number_is_always_the_same_pair(tmp_path):
    first = [path.read_bytes() for path in broken(17, tmp_path)]
    assert [path.read_bytes() for path in broken(17, tmp_path)] == first
