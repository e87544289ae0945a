"""`pertcore attack`: refuse what is wrong, stream batches, keep what is finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pertcore.attacks.registry import find
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.console import SampleProgress, say, show_facts, warn
from pertcore.cli.doubts import doubts
from pertcore.cli.flags import as_flags
from pertcore.cli.problem import Problem, pose
from pertcore.data import Inputs
from pertcore.errors import InputError
from pertcore.evaluation.page import page_of
from pertcore.evaluation.page_parts import endings
from pertcore.evaluation.pictures import Example, example_at
from pertcore.evaluation.records import (
    fingerprint,
    machine,
    ready_folder,
    result_columns,
    versions,
)
from pertcore.evaluation.report import shown, write_report
from pertcore.evaluation.runs.folder import RunFolder, in_blocks, open_run
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.state import decoded, encoded
from pertcore.evaluation.stream import attacked_batch, joined, selected, without_points
from pertcore.result import AttackResult

STOPPED = 130
SHOWN_FOOLED, SHOWN_KEPT = 9, 3


@dataclass
class Finished:
    """What is known of the blocks that are done; points only of the few that are shown."""

    results: list[AttackResult] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    def add(self, block: Block, inputs: Inputs) -> None:
        result = decoded(block.state)
        self.results.append(result)
        self.starts.append(block.start)
        for wanted, allowed in ((True, SHOWN_FOOLED), (False, SHOWN_KEPT)):
            room = allowed - sum(example.fooled == wanted for example in self.examples)
            candidates = np.flatnonzero((result.success == wanted) & result.attackable)
            for place in candidates[: max(room, 0)]:
                self.examples.append(_example(block, result, inputs, int(place)))


def run(arguments: AttackArguments) -> None:
    """Attack, write, report; typer.Exit(130) after Ctrl-C, with the finished batches kept."""
    find(arguments.attack)
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: give the folder of the unfinished run with --out")
    folder = ready_folder(arguments.out) if arguments.out is not None else None
    problem = pose(arguments)
    kept = None if folder is None else _opened(folder, arguments, problem)
    started = time.perf_counter()
    finished, stopped = Finished(), False
    try:
        _stream(arguments, problem, kept, finished)
    except KeyboardInterrupt:
        stopped = True
    finally:
        seconds = time.perf_counter() - started
        if finished.results:
            _conclude(arguments, problem, kept, finished, seconds)
        if kept is not None:
            kept.lock.close()
    if stopped:
        done = sum(len(r.success) for r in finished.results)
        where = f", kept in {folder}; --resume goes on" if folder is not None and done else ""
        typer.echo(
            f"pertcore: stopped: {done} of {len(problem.inputs)} samples done{where}", err=True
        )
        raise typer.Exit(STOPPED)


def _opened(folder: Path, arguments: AttackArguments, problem: Problem) -> RunFolder:
    said = {k: v for k, v in vars(arguments).items() if k not in ("out", "resume")}
    same = {"arguments": {k: str(v) for k, v in said.items() if v is not None}}
    same["model"] = fingerprint(arguments.models)
    same["data"] = fingerprint(problem.files)
    return open_run(
        folder, {"kind": "attack", "command": arguments.command()}, same, arguments.resume
    )


def _stream(
    arguments: AttackArguments, problem: Problem, kept: RunFolder | None, finished: Finished
) -> None:
    with SampleProgress(len(problem.inputs)) as progress:

        def work(rows: slice) -> Block:
            result = attacked_batch(
                problem.oracle, problem.inputs, problem.y, rows=rows, callback=progress.step,
                settings=problem.settings, left_out=problem.left_out,
            ).result  # fmt: skip
            given = (problem.labels, problem.targets)
            labels, targets = (None if part is None else part[rows] for part in given)
            names = problem.inputs.names[rows]
            columns = result_columns(result, rows.start, labels, targets, names)
            return Block(rows.start, columns, result.x_adv, encoded(without_points(result)))

        for block, _ in in_blocks(kept, len(problem.inputs), arguments.batch_size, work):
            finished.add(block, problem.inputs)
            progress.batch_done(len(block))


def _example(block: Block, result: AttackResult, inputs: Inputs, place: int) -> Example:
    x = inputs[block.start + place : block.start + place + 1]
    x_adv = np.asarray(block.points)[place : place + 1]
    delta = x_adv.astype(np.float64) - x.astype(np.float64)
    alone = replace(
        result, x_adv=x_adv, delta=delta, before=result.before[place : place + 1],
        after=result.after[place : place + 1], success=result.success[place : place + 1],
    )  # fmt: skip
    return example_at(x, alone, 0, block.start + place)


def _conclude(
    arguments: AttackArguments,
    problem: Problem,
    kept: RunFolder | None,
    finished: Finished,
    seconds: float,
) -> None:
    everybody = joined(finished.results)
    done = len(everybody.success)
    left = problem.left_out[:done] if problem.left_out is not None else np.zeros(done, dtype=bool)
    result = selected(everybody, ~left)
    told = {name: shown(value) for name, value in result.summary().items()}
    if left.any():
        told["left out"] = f"{int(left.sum())}  Their label is the target already."
    resumed = () if kept is None else kept.warnings
    said = [*resumed, *problem.warnings, *everybody.warnings, *doubts(arguments, problem, result)]
    notes = list(dict.fromkeys(map(as_flags, said)))
    ended = {f"status {name}": f"{count}  {advice}" for name, count, advice in endings(result)}
    show_facts(_title(arguments), told | ended)
    warn(notes)
    if kept is None:
        return
    kept.join(finished.starts)
    facts = _facts(arguments, problem, result, done, notes, seconds, kept.same)
    _write_examples(kept.path / "examples.npz", finished.examples)
    kept.finish(facts)
    write_report(kept.path / "report.html", page_of(kept.path))
    say(f"written to {kept.path}: x_adv.npy, results.parquet, run.json, report.html")


def _write_examples(path: Path, examples: Sequence[Example]) -> None:
    """The samples that the page shows, so that it can be drawn without model and data."""
    columns = ("index", "x", "x_adv", "before", "after", "fooled")
    arrays: dict[str, Any] = {n: np.array([getattr(e, n) for e in examples]) for n in columns}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def _title(arguments: AttackArguments) -> str:
    models = " + ".join(path.name for path in arguments.models)
    budget = f", eps {arguments.eps}" if arguments.eps is not None else ""
    return f"{find(arguments.attack).name} on {models}, norm {arguments.norm}{budget}"


def _facts(
    arguments: AttackArguments,
    problem: Problem,
    result: AttackResult,
    done: int,
    notes: Sequence[str],
    seconds: float,
    same: dict[str, Any],
) -> dict[str, Any]:
    used = {"batch_size": arguments.batch_size, "first_index": 0, "partition": arguments.partition}
    complete = done == len(problem.inputs)
    return {
        "kind": "attack",
        "status": "finished" if complete else "stopped",
        "command": arguments.command(),
        "arguments": {k: v for k, v in vars(arguments).items() if v is not None},
        "attack": find(arguments.attack).summary,
        "settings": result.settings | used,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples_asked": len(problem.inputs),
        "samples_done": done,
        "samples_left_out": done - len(result.success),
        "complete": complete,
        "seconds": seconds,
        "summary": result.summary(),
        "calls": vars(result.calls),
        "warnings": list(notes),
        "box": arguments.box(),
        "same": same,
        "model_sha256": same["model"],
        "data_sha256": same["data"],
        "versions": versions(),
        "machine": machine(),
        "working_folder": str(Path.cwd()),
    }
