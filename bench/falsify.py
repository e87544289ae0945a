"""Counterexamples to the public instances of VNN-COMP, each a process of `pertcore falsify`.

Run `python -m bench.falsify [--out FILE]`. Verdicts and the shortest time that any tool of the
competition needed come with the instances, under `vnncomp/` in the folder `PERTCORE_DATA`. Those
known to be sat are timed first, one after the other, with --timeout 10, and run twice again with
--deterministic; those known to be unsat run two at once, for --unsat seconds each: there nothing
may be claimed. Every counterexample is judged by the checker of the tests, which shares no code
with the finder.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.machine import machine_facts
from bench.models import data_folder
from tests.falsification.checker import check

COMMAND = [str(Path(sys.executable).with_name("pertcore")), "falsify"]
LIMIT, PATIENCE = 10.0, 60.0


def instances(folder: Path) -> list[dict[str, str]]:
    with (folder / "vnncomp" / "instances_ground_truth.csv").open() as file:
        return list(csv.DictReader(file))


def answer(folder: Path, row: dict[str, str], seconds: float, *flags: str) -> tuple[str, float]:
    """What the command prints, and its wall time, process start included."""
    files = [str(folder / row["onnx"]), str(folder / row["vnnlib"])]
    started = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, *files, "--timeout", str(seconds), *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout, time.perf_counter() - started


def replays(folder: Path, row: dict[str, str], text: str) -> bool:
    try:
        check(folder / row["onnx"], folder / row["vnnlib"], text)
    except AssertionError as error:
        print(f"{row['vnnlib']}: {error}")
        return False
    return True


def judged(folder: Path, row: dict[str, str], text: str, wall: float) -> dict[str, Any]:
    """One instance: its verdict, time, and what became of its counterexample."""
    found = {name: row[name] for name in ("benchmark", "onnx", "vnnlib")}
    found |= {"known": row["verdict"], "verdict": text.split("\n")[0], "seconds": wall}
    if row["t_sat_min_s"]:
        found["fastest tool"] = float(row["t_sat_min_s"])
    if found["verdict"] == "sat":
        found["replays"] = replays(folder, row, text)
    if row["verdict"] == "sat":
        twice = [answer(folder, row, PATIENCE, "--deterministic")[0] for _ in range(2)]
        found["same twice"] = twice[0] == twice[1]
    print(json.dumps(found), flush=True)
    return found


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a benchmark, and one for all."""
    names = [*sorted({row["benchmark"] for row in rows}), "all"]
    table = []
    for name in names:
        part = [row for row in rows if name in (row["benchmark"], "all")]
        sat = [row for row in part if row["known"] == "sat"]
        found = [row for row in sat if row["verdict"] == "sat"]
        seconds = [row["seconds"] for row in found]
        unsat = [row for row in part if row["known"] == "unsat"]
        table.append(
            {
                "benchmark": name,
                "sat": len(sat),
                "found": len(found),
                "median seconds": statistics.median(seconds) if seconds else None,
                "most seconds": max(seconds, default=None),
                "fastest tool, median seconds": statistics.median(
                    row["fastest tool"] for row in found
                )
                if found
                else None,
                "sooner than the fastest tool": sum(
                    row["seconds"] < row["fastest tool"] for row in found
                ),
                "replay": sum(row.get("replays", False) for row in part),
                "same twice": sum(row["same twice"] for row in sat),
                "unsat": len(unsat),
                "claimed of unsat": sum(row["verdict"] == "sat" for row in unsat),
                "errors": sum(row["verdict"] == "error" for row in part),
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unsat", type=float, default=5.0, help="seconds of each unsat instance")
    parser.add_argument("--out", type=Path, default=Path("bench/results/falsify.json"))
    arguments = parser.parse_args()
    folder = data_folder()
    if folder is None:
        raise SystemExit("the instances are not there: set PERTCORE_DATA")
    known = instances(folder)
    alone = [row for row in known if row["verdict"] == "sat"]
    others = [row for row in known if row["verdict"] != "sat"]
    timed = [answer(folder, row, LIMIT) for row in alone]
    print("timed", flush=True)
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda row, found: judged(folder, row, *found), alone, timed))
        searched = pool.map(lambda row: answer(folder, row, arguments.unsat), others)
        rows += [judged(folder, row, *found) for row, found in zip(others, searched, strict=True)]
    report = {
        "machine": machine_facts(),
        "seconds of unsat": arguments.unsat,
        "summary": summary(rows),
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
