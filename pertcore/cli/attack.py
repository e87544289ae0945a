"""`pertcore attack`: refuse what is wrong, stream batches, keep what is finished."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pertcore.attacks.registry import find
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.blockwise import Workplace, blockwise, facts_of, folder_of
from pertcore.cli.console import show_facts, warn
from pertcore.cli.doubts import doubts
from pertcore.cli.flags import as_flags
from pertcore.cli.problem import Problem, pose
from pertcore.evaluation.examples import outputs_of, write_examples
from pertcore.evaluation.page_parts import endings
from pertcore.evaluation.pictures import Example, example_at
from pertcore.evaluation.report import shown
from pertcore.evaluation.runs.checked import check
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.failing import told
from pertcore.evaluation.runs.finished import Attacked, Finished
from pertcore.evaluation.runs.folder import RunFolder
from pertcore.evaluation.runs.rows import restored
from pertcore.evaluation.runs.work import block_work
from pertcore.evaluation.stream import selected
from pertcore.result import AttackResult

SHOWN_FOOLED, SHOWN_KEPT = 9, 3


def run(arguments: AttackArguments) -> None:
    """Attack, write, report; typer.Exit(130) after Ctrl-C, with the finished batches kept."""
    find(arguments.attack)
    folder = folder_of(arguments)
    problem = pose(arguments)
    y = None if problem.y is None else problem.y[:1]
    check(arguments.kind, problem.oracle, problem.inputs[0:1], y, problem.settings)
    finished = Attacked()
    workplace = Workplace(
        lambda progress: block_work(problem, arguments.kind, progress.step), posed_work
    )
    conclude = partial(_conclude, arguments, problem, finished)
    blockwise(arguments, problem, folder, workplace, finished, conclude)


def posed_work(arguments: AttackArguments) -> Work:
    """The work of a worker, which reads model and data itself."""
    return block_work(pose(arguments), arguments.kind)


def _examples(
    kept: RunFolder, finished: Finished, result: AttackResult, problem: Problem
) -> list[Example]:
    """The first samples that were fooled and that stand, their points read from the parts."""
    index = finished.index
    found = []
    for wanted, allowed in ((True, SHOWN_FOOLED), (False, SHOWN_KEPT)):
        for row in np.flatnonzero((result.success == wanted) & result.attackable)[:allowed]:
            place = int(index[row])
            x = problem.inputs[place : place + 1]
            x_adv = restored(problem, kept.point(place, finished.starts)[None])
            delta = x_adv.astype(np.float64) - x.astype(np.float64)
            alone = replace(
                result, x_adv=x_adv, delta=delta, before=result.before[row : row + 1],
                after=result.after[row : row + 1], success=result.success[row : row + 1],
            )  # fmt: skip
            outputs = outputs_of(problem.oracle, x, x_adv) if result.task == "regression" else None
            found.append(replace(example_at(x, alone, 0, place), outputs=outputs))
    return found


def _conclude(
    arguments: AttackArguments,
    problem: Problem,
    finished: Attacked,
    kept: RunFolder | None,
    seconds: float,
) -> None:
    index = finished.index
    result = everybody = finished.joined()
    left = np.zeros(len(result.success), dtype=bool)
    if problem.left_out is not None:
        left = problem.left_out[index]
    if left.any():
        result = selected(everybody, ~left)
    figures = {name: shown(value) for name, value in result.summary().items()}
    if left.any():
        figures["left out"] = f"{int(left.sum())}  Their label is the target already."
    resumed = () if kept is None else kept.warnings
    said = [
        *told(finished.failed), *resumed, *problem.warnings, *everybody.warnings,
        *doubts(arguments, problem, result),
    ]  # fmt: skip
    notes = list(dict.fromkeys(map(as_flags, said)))
    ended = {f"status {name}": f"{count}  {advice}" for name, count, advice in endings(result)}
    show_facts(_title(arguments), figures | ended)
    warn(notes)
    if kept is None:
        return
    kept.join(finished.starts)
    write_examples(kept.path / "examples.npz", _examples(kept, finished, everybody, problem))
    facts = {
        **facts_of(arguments, problem, finished, kept.same),
        "settings": result.settings | _used(arguments), "seconds": seconds,
        "samples_left_out": int(left.sum()), "summary": result.summary(),
        "calls": vars(result.calls), "warnings": notes,
    }  # fmt: skip
    kept.finish(facts)


def _title(arguments: AttackArguments) -> str:
    models = " + ".join(path.name for path in arguments.models)
    budget = f", eps {arguments.eps}" if arguments.eps is not None else ""
    return f"{find(arguments.attack).name} on {models}, norm {arguments.norm}{budget}"


def _used(arguments: AttackArguments) -> dict[str, Any]:
    size, partition = arguments.batch_size, arguments.partition
    return {"batch_size": size, "first_index": 0, "partition": partition}
