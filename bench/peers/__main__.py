"""pertcore beside its peers: the same models, data, budgets, steps, threads and seeds.

Run `python -m bench.peers [--quick] [--only SECTION] [--model NAME] [--again LIBRARY]`.

projection  the exact l1 projection, in turns
profile     how much of pertcore's time the model takes, and how much its kernels
speed       PGD-40 on 512 images and DeepFool, in turns
curve       twenty budgets at once, in turns
minimum     smallest perturbations: FMN, DDN, DeepFool, sigma-zero
pgd         fixed budgets at equal passes: apgd, alg1 and the portfolio beside every PGD
autoattack  the portfolio beside AutoAttack's standard version

Builds an environment of its own for the libraries. A figure that is on disk (.peers/measured.jsonl)
is not measured again; `--again NAME` forgets those of a library. `--quick` takes few samples of
everything, keeps its figures apart and writes no page. What is there goes to
bench/results/peers.json and from there to docs/peers.md.
"""

from __future__ import annotations

import argparse
import json

from bench.machine import machine_facts
from bench.peers.calling import RUNNERS, Libraries
from bench.peers.environments import ENVIRONMENTS, ROOT, WORK
from bench.peers.measuring import Measurements, forget
from bench.peers.plan import MODELS, SECTIONS
from bench.peers.report import page

QUICK = 8
JSON_FILE, PAGE = ROOT / "bench" / "results" / "peers.json", ROOT / "docs" / "peers.md"
PEERS = [package for environment in ENVIRONMENTS for package in environment.bare]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"at most {QUICK} samples")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--model", choices=MODELS, help="one model")
    parser.add_argument("--again", choices=RUNNERS, help="measure this library anew")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library")
    arguments = parser.parse_args()
    file = WORK / ("quick.jsonl" if arguments.quick else "measured.jsonl")
    if arguments.again:
        forget(file, arguments.again, arguments.only)
    with Libraries(arguments.threads) as libraries:
        measured = Measurements(
            libraries, QUICK if arguments.quick else None, arguments.model, file
        )
        for name, section in SECTIONS.items():
            if arguments.only in (None, name):
                section(measured)
    publish(arguments.threads, measured, quick=arguments.quick)


def publish(threads: int, measured: Measurements, *, quick: bool) -> None:
    """What is on disk for so many threads, as JSON and as the page made from it."""
    rows = [row for row in measured.held.values() if row["threads"] == threads]
    report = {"machine": machine_facts(), "threads": threads, "peers": PEERS, "rows": rows}
    if quick:
        print(page(report))
        return
    facts = json.dumps(report | {"rows": []}, indent=1)
    lines = ",\n  ".join(map(json.dumps, rows))
    JSON_FILE.write_text(facts.replace('"rows": []', f'"rows": [\n  {lines}\n ]') + "\n")
    PAGE.write_text(page(report))


if __name__ == "__main__":
    main()
