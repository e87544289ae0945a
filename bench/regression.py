"""The paper's Fig. 4 and how strong the attacks on a regression are at equal cost.

`python -m bench.regression figure [--out FOLDER]`: output PSNR against input PSNR, and against the
number of changed pixels, as a table, JSON and PNG. `quality`: MSE at twelve units beside the best
known. `reference`: one more round of a portfolio of many restarts of every attack for that best.

Models: the bundled digits autoencoder; with the data folder also an MNIST autoencoder and a
colorization network on small crops. Nothing is labelled: y = f(x). A unit is a forward and a
backward run of a sample, or a product with J and one with J^T; the final check of x_adv, which
every attack has, is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.machine import machine_facts
from bench.regression_plot import plot
from bench.regression_tasks import Task, tasks
from pertcore.attacks import ATTACKS

RESULTS = Path(__file__).resolve().parent / "results"
REFERENCE = RESULTS / "regression_reference.json"
UNITS, UNITS_OF_REFERENCE = 12, 2000

# Share of the units of the portfolio, and its attack; `steps` units a restart.
PORTFOLIO: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.25, {"attack": "iterated-quadratic", "steps": 50}),
    (0.15, {"attack": "iterated-quadratic", "steps": UNITS}),
    (0.20, {"attack": "pgd", "steps": 40}),
    (0.20, {"attack": "pgd", "steps": 40, "rel_step_size": 10.0}),
    (0.10, {"attack": "pgd", "steps": 100, "rel_step_size": 5.0}),
    (0.10, {"attack": "linear", "steps": 40}),
)
CONTESTANTS: dict[str, dict[str, Any]] = {
    "random": {"attack": "random"},
    f"linear-{UNITS}": {"attack": "linear", "steps": UNITS},
    f"pgd-{UNITS}": {"attack": "pgd", "steps": UNITS},
    f"pgd-{UNITS}, eps/4": {"attack": "pgd", "steps": UNITS, "rel_step_size": UNITS / 4},
    "quadratic": {"attack": "quadratic", "certify": False},
    f"iterated-quadratic-{UNITS}": {"attack": "iterated-quadratic", "steps": UNITS},
}
CURVES: dict[str, dict[str, Any]] = {
    "random": {"attack": "random"},
    "linear-1": {"attack": "linear", "steps": 1},
    "linear-20": {"attack": "linear", "steps": 20},
    "quadratic": {"attack": "quadratic", "certify": False},
    f"iterated-quadratic-{UNITS}": {"attack": "iterated-quadratic", "steps": UNITS},
}
PIXELS: dict[str, str] = {"random-pixel-T": "random-pixel", "linear-pixel-T": "pixel"}


def known(contestants: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those whose attack is registered."""
    return {name: row for name, row in contestants.items() if row["attack"] in ATTACKS}


def attacked(
    task: Task, x: np.ndarray, settings: dict[str, Any], eps: float, norm: float, boxed: bool
) -> dict[str, Any]:
    """MSE (n,) and mean PSNRs of an attack without labels, its units and seconds."""
    started = time.perf_counter()
    # First index 1: a continued data set, whose model is not checked (that would count as runs).
    result = pc.attack(
        task.oracle, x, eps=eps, norm=norm, bounds=(0, 1) if boxed else None,
        task="regression", first_index=1, batch_size=64, **settings,
    )  # fmt: skip
    n, calls = len(x), result.calls
    return {
        "mse": result.metrics["mse"],
        "psnr_in": finite_mean(result.metrics["psnr_in"]),
        "psnr_out": finite_mean(result.metrics["psnr_out"]),
        "units": (calls.f + calls.vjp + calls.jvp - n) / (2 * n),
        "seconds": time.perf_counter() - started,
    }


def finite_mean(values: np.ndarray) -> float:
    return float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else math.nan


def cells() -> Iterator[tuple[float, bool]]:
    for norm in (2.0, math.inf):
        for boxed in (False, True):
            yield norm, boxed


def key(task: Task, norm: float, boxed: bool) -> str:
    return f"{task.name}, p = {norm:g}, {'box' if boxed else 'no box'}"


def find_reference(task: Task, known_best: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cell -> the best MSE of every sample over a portfolio of some `UNITS_OF_REFERENCE` units.

    One cell at a time, the least tried first. What earlier rounds found at the same eps is kept
    where it is better; a round has its own seed.
    """
    ordered = sorted(
        cells(), key=lambda cell: known_best.get(key(task, *cell), {}).get("rounds", 0)
    )
    for norm, boxed in ordered:
        eps, started = task.eps(norm), time.perf_counter()
        earlier = known_best.get(key(task, norm, boxed), {})
        if earlier.get("eps") != eps or len(earlier["mse"]) != len(task.x):
            earlier = {"mse": np.zeros(len(task.x)), "units": 0.0, "rounds": 0, "seconds": 0.0}
        best, units = np.array(earlier["mse"]), earlier["units"]
        rounds = earlier.get("rounds", 1)
        winners: dict[str, int] = {}
        for share, settings in PORTFOLIO:
            restarts = max(1, round(share * UNITS_OF_REFERENCE / settings["steps"]))
            row = attacked(
                task, task.x, {**settings, "restarts": restarts, "rng": rounds}, eps, norm, boxed
            )
            name = " ".join(str(value) for value in settings.values())
            winners[name] = int(np.count_nonzero(row["mse"] > best))
            best, units = np.maximum(best, row["mse"]), units + row["units"]
        print(f"{key(task, norm, boxed):<40} best MSE {best.mean():.6g}, {units:.0f} units")
        yield {key(task, norm, boxed): {
            "eps": eps, "units": units, "rounds": rounds + 1,
            "seconds": earlier["seconds"] + time.perf_counter() - started,
            "improved by": winners, "mse": [float(f"{value:.7g}") for value in best],
        }}  # fmt: skip


def quality(task: Task, reference: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a cell and contestant: mean MSE, units, share of the best known."""
    rows = []
    for norm, boxed in cells():
        cell = key(task, norm, boxed)
        best = np.array(reference.get(cell, {}).get("mse", []))
        for name, settings in known(CONTESTANTS).items():
            row = attacked(task, task.x, settings, task.eps(norm), norm, boxed)
            mse = row.pop("mse")
            shares = mse / best if len(best) == len(mse) else np.full(len(mse), math.nan)
            rows.append({
                "cell": cell, "attack": name, "eps": task.eps(norm), "mse": float(mse.mean()),
                "of best": float(mse.mean() / best.mean()) if len(best) else math.nan,
                "mean share": float(shares.mean()), "worst share": float(shares.min()), **row,
            })  # fmt: skip
            print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['cell']:<40} {row['attack']:<24} units {row['units']:6.1f}  MSE {row['mse']:.6f}  "
        f"of best {row['of best']:.3f}  mean share {row['mean share']:.3f}  "
        f"worst {row['worst share']:.3f}"
    )


def curves(task: Task) -> list[dict[str, Any]]:
    """Points of Fig. 4: a row an attack, norm, box and eps."""
    rows, x = [], task.x[: task.shown]
    for norm, boxed in cells():
        for name, settings in known(CURVES).items():
            for level in task.levels:
                eps = task.scaled(level, norm)
                row = attacked(task, x, settings, eps, norm, boxed)
                row["mse"] = float(row["mse"].mean())
                at = {"model": task.name, "attack": name, "norm": f"{norm:g}", "box": boxed}
                rows.append({**at, "eps": eps, **row})
                print(point(rows[-1]), flush=True)
    return rows


def pixels(task: Task) -> list[dict[str, Any]]:
    """Points of Fig. 4 (c): T changed pixels by the full range, inside the box."""
    rows, x = [], task.x[: task.shown]
    d = x[0].size
    for name, attack in PIXELS.items():
        for count in (c for c in (1, 2, 5, 10, 20, 50, 100) if c <= d // 2):
            settings = {
                "attack": attack, "steps": count, "partition": np.arange(d).reshape(x[0].shape),
            }  # fmt: skip
            row = attacked(task, x, settings, 1.0, math.inf, True)
            row["mse"] = float(row["mse"].mean())
            rows.append({"model": task.name, "attack": name, "T": count, **row})
            print(point(rows[-1]), flush=True)
    return rows


def point(row: dict[str, Any]) -> str:
    where = (
        f"T = {row['T']}" if "T" in row
        else f"p = {row['norm']}, {'box' if row['box'] else 'no box'}, eps {row['eps']:.4g}"
    )  # fmt: skip
    return (
        f"{row['model']:<20} {row['attack']:<24} {where:<28} input {row['psnr_in']:6.2f} dB  "
        f"output {row['psnr_out']:6.2f} dB  {row['seconds']:.2f} s"
    )


def written(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine_facts(), **report}, indent=1) + "\n")


def reference_file() -> dict[str, Any]:
    return json.loads(REFERENCE.read_text())["cells"] if REFERENCE.exists() else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("figure", "quality", "reference"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of JSON and PNG")
    parser.add_argument("--only", default="", help="models whose name contains this")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", pc.PertcoreWarning)
    chosen = [task for task in tasks() if arguments.only in task.name]
    if arguments.what == "reference":
        found = reference_file()
        for task in chosen:
            for cell in find_reference(task, found):
                found |= cell
                written(REFERENCE, {"cells": found})
    elif arguments.what == "quality":
        best = reference_file()
        rows = [row for task in chosen for row in quality(task, best)]
        written(arguments.out / "regression_quality.json", {"rows": rows})
    else:
        report = {
            "curves": [row for task in chosen for row in curves(task)],
            "pixels": [row for task in chosen if task.greys for row in pixels(task)],
        }
        written(arguments.out / "regression_figure.json", report)
        plot(report, arguments.out / "regression_figure.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
