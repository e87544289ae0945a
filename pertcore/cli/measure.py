"""`pertcore curve` and `pertcore robustness`: how much a data set withstands, block after block."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pertcore.attacks.registry import find
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.blockwise import Workplace, blockwise, facts_of, folder_of
from pertcore.cli.console import show_facts, show_table, warn
from pertcore.cli.doubts import doubts
from pertcore.cli.flags import as_flags
from pertcore.cli.measure_problem import pose_measure, posed_work
from pertcore.cli.problem import Problem
from pertcore.evaluation.examples import outputs_of, write_examples
from pertcore.evaluation.page_parts import endings
from pertcore.evaluation.pictures import Example
from pertcore.evaluation.reading import RESULTS, Kept
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.report import shown
from pertcore.evaluation.robustness import Robustness
from pertcore.evaluation.runs import failing
from pertcore.evaluation.runs.finished import Measures
from pertcore.evaluation.runs.folder import RunFolder
from pertcore.evaluation.runs.measures import Measured, Told, spread_over
from pertcore.evaluation.runs.rows import restored
from pertcore.evaluation.runs.work import block_work
from pertcore.oracle import Array

SHOWN, SHOWN_KEPT = 9, 3


def run(arguments: AttackArguments) -> None:
    """Measure, write, report; typer.Exit(130) after Ctrl-C, with the finished blocks kept."""
    find(arguments.attack)
    folder = folder_of(arguments)
    problem = pose_measure(arguments)
    finished = Measures()
    workplace = Workplace(
        lambda progress: block_work(problem, arguments.kind, progress.search), posed_work
    )
    conclude = partial(_conclude, arguments, problem, finished)
    blockwise(arguments, problem, folder, workplace, finished, conclude)


def _conclude(
    arguments: AttackArguments,
    problem: Problem,
    finished: Measures,
    folder: RunFolder | None,
    seconds: float,
) -> None:
    index = finished.index
    told, rows = finished.joined()
    everybody = _kept(arguments, problem, index, replace(told, seconds=seconds), rows)
    kept = everybody.without_targets()
    found = RESULTS[arguments.kind](kept)
    resumed = () if folder is None else folder.warnings
    said = [
        *failing.told(finished.failed),
        *resumed,
        *problem.warnings,
        *told.warnings,
        *doubts(arguments, problem, found),
    ]
    notes = list(dict.fromkeys(map(as_flags, said)))
    _show(arguments, found, everybody.facts["samples_left_out"])
    warn(notes)
    if folder is None:
        return
    folder.join(finished.starts)
    examples = _examples(problem, found, kept.row("index"), folder.path / "x_adv.npy")
    write_examples(folder.path / "examples.npz", examples)
    facts = {**everybody.facts, "summary": found.summary(), "warnings": notes}
    folder.finish(facts | facts_of(arguments, problem, finished, folder.same))


def _kept(
    arguments: AttackArguments, problem: Problem, index: Array, told: Told, rows: dict[str, Array]
) -> Kept:
    """The run as its folder will hold it."""
    left = 0 if problem.left_out is None else int(problem.left_out[index].sum())
    used = {"batch_size": arguments.batch_size, "partition": arguments.partition}
    facts = {
        "kind": arguments.kind, "settings": told.settings | used, "calls": vars(told.calls),
        "seconds": told.seconds, "samples_left_out": left,
    }  # fmt: skip
    return Kept(Path(arguments.out or "."), facts, rows)


def _show(arguments: AttackArguments, found: Measured, left: int) -> None:
    models = " + ".join(path.name for path in arguments.models)
    attack = find(arguments.attack).name
    facts = {name: shown(value) for name, value in found.summary().items()}
    if left:
        facts["left out"] = f"{left}  Their label is the target already."
    ended = {f"status {name}": f"{count}  {advice}" for name, count, advice in endings(found)}
    title = f"{arguments.kind.capitalize()} by {attack} on {models}, norm {arguments.norm}"
    show_facts(title, facts | ended)
    if not isinstance(found, Robustness):
        show_table("Budgets", *found.table())


def _examples(problem: Problem, found: Measured, index: Array, points: Path) -> list[Example]:
    """Samples from the weakest to the strongest, and some that nothing fooled."""
    x_adv = np.load(points, mmap_mode="r")
    if isinstance(found, RegressionCurve):
        size = -found.loss[-1]
    else:
        size = np.where(found.attackable, found.norms, np.nan)
    order = np.argsort(size, kind="stable")
    fooled = order[np.isfinite(size[order])]
    held = np.flatnonzero(np.isposinf(size))[:SHOWN_KEPT]
    return [
        _example(problem, found, place, int(index[place]), x_adv)
        for place in [*spread_over(fooled, SHOWN), *map(int, held)]
    ]


def _example(problem: Problem, found: Measured, place: int, index: int, points: Array) -> Example:
    x = problem.inputs[index : index + 1]
    x_adv = restored(problem, np.array(points[index : index + 1]))
    delta = x_adv[0].astype(np.float64) - x[0].astype(np.float64)
    if not isinstance(found, RegressionCurve):
        classes = int(found.before[place]), int(found.after[place])
        fooled = bool(np.isfinite(found.norms[place]))
        return Example(index, x[0], x_adv[0], delta, *classes, fooled)
    outputs = outputs_of(problem.oracle, x, x_adv)
    return Example(index, x[0], x_adv[0], delta, -1, -1, bool(found.success[-1, place]), outputs)
