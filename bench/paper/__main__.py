"""The paper's Section VI, made anew: `make paper`, or python -m bench.paper [--quick].

Trains the networks that are missing, measures every figure and table that bench/results/paper does
not hold with the same settings, and draws the figures and docs/paper.md from what is there. With
--quick it takes the bundled digits and a few samples, and writes to build/paper-quick. What needs
absent data is left out, with a line that says where it can be had.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pertcore as pc
from bench.machine import machine_facts
from bench.models import ROOT
from bench.paper.data import AbsentError
from bench.paper.draw import drawn
from bench.paper.jobs import FULL, QUICK, Job
from bench.paper.page import page as written_page
from bench.paper.page import read
from bench.paper.train import FOLDER

RESULTS = ROOT / "bench" / "results" / "paper"
QUICKLY = ROOT / "build" / "paper-quick"
PAGE = ROOT / "docs" / "paper.md"


def made(jobs: Sequence[Job], results: Path, networks: Path) -> list[str]:
    """Runs what `results` does not hold yet; returns the names of the jobs whose data is absent."""
    results.mkdir(parents=True, exist_ok=True)
    absent = []
    for job in jobs:
        path = results / f"{job.name}.json"
        if held(path, job):
            print(f"{job.name}: is there", flush=True)
            continue
        try:
            started = time.process_time()
            found = job.run(networks)
        except AbsentError as reason:
            print(f"{job.name}: left out, {reason}", flush=True)
            absent.append(job.name)
            continue
        seconds = time.process_time() - started
        print(f"{job.name}: {seconds:.0f} s of processor time", flush=True)
        written(path, job, {"seconds": round(seconds, 1), "machine": machine_facts(), **found})
    return absent


def held(path: Path, job: Job) -> bool:
    """Whether the file holds that job with those settings."""
    if not path.is_file():
        return False
    stored = json.loads(path.read_text())
    return stored["settings"] == job.settings and stored["maker"] == job.maker


def written(path: Path, job: Job, found: dict[str, Any]) -> None:
    """All at once, so that a run that is stopped leaves no half a file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"maker": job.maker, "settings": job.settings, **found}) + "\n")
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits and small subsets, minutes")
    parser.add_argument("--only", default="", help="jobs whose name begins with this; no drawing")
    parser.add_argument("--out", type=Path, help="folder of results and page")
    parser.add_argument("--networks", type=Path, default=FOLDER, help="folder of ONNX files")
    options = parser.parse_args()
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    jobs = QUICK if options.quick else FULL
    out = options.out or (QUICKLY if options.quick else None)
    results = out or RESULTS
    made([job for job in jobs if job.name.startswith(options.only)], results, options.networks)
    if not options.only:
        shown(jobs, results, PAGE if out is None else out / "paper.md")


def shown(jobs: Sequence[Job], results: Path, page: Path) -> None:
    """The page and, in a folder beside it, its figures."""
    stored = read(results, jobs)
    if not stored:
        print("nothing is measured, so no page is written", flush=True)
        return
    figures = drawn(stored, page.parent / "paper")
    page.write_text(written_page(stored, jobs, figures, "paper"))
    print(f"{page}: {len(stored)} results, figures {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
