"""`pertcore attack`: refuse what is wrong, stream batches, keep what is finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from pertcore.cli.pages import attack_page, endings, figures
from pertcore.cli.problem import Problem, pose
from pertcore.evaluation.pictures import Example, example_at
from pertcore.evaluation.records import (
    ArrayWriter,
    fingerprint,
    machine,
    ready_folder,
    result_columns,
    versions,
    write_results,
    write_run,
)
from pertcore.evaluation.report import write_report
from pertcore.evaluation.stream import Batch, attacked_batches, joined, selected, without_points
from pertcore.result import AttackResult

STOPPED = 130
SHOWN_FOOLED, SHOWN_KEPT = 9, 3


@dataclass
class Finished:
    """What is known of the batches that are done; points only of the few that are shown."""

    results: list[AttackResult] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    def add(self, batch: Batch, problem: Problem) -> None:
        rows = slice(batch.start, batch.start + len(batch.x))
        cut = [None if part is None else part[rows] for part in (problem.labels, problem.targets)]
        names = problem.inputs.names[rows]
        self.results.append(without_points(batch.result))
        self.columns.append(result_columns(batch.result, batch.start, cut[0], cut[1], names))
        self._keep_examples(batch)

    def _keep_examples(self, batch: Batch) -> None:
        result = batch.result
        for wanted, allowed in ((True, SHOWN_FOOLED), (False, SHOWN_KEPT)):
            room = allowed - sum(example.fooled == wanted for example in self.examples)
            candidates = np.flatnonzero((result.success == wanted) & result.attackable)
            self.examples += [
                example_at(batch.x, result, int(place), batch.start)
                for place in candidates[: max(room, 0)]
            ]


def run(arguments: AttackArguments) -> None:
    """Attack, write, report; typer.Exit(130) after Ctrl-C, with the finished batches kept."""
    find(arguments.attack)
    folder = ready_folder(arguments.out) if arguments.out is not None else None
    problem = pose(arguments)
    started = time.perf_counter()
    finished, stopped = Finished(), False
    try:
        _stream(arguments, problem, folder, finished)
    except KeyboardInterrupt:
        stopped = True
    finally:
        seconds = time.perf_counter() - started
        if finished.results:
            _conclude(arguments, problem, folder, finished, seconds)
    if stopped:
        done = sum(len(r.success) for r in finished.results)
        kept = f", kept in {folder}" if folder is not None and done else ""
        typer.echo(
            f"pertcore: stopped: {done} of {len(problem.inputs)} samples done{kept}", err=True
        )
        raise typer.Exit(STOPPED)


def _stream(
    arguments: AttackArguments, problem: Problem, folder: Path | None, finished: Finished
) -> None:
    with SampleProgress(len(problem.inputs)) as progress:
        batches = attacked_batches(
            problem.oracle, problem.inputs, problem.y, batch_size=arguments.batch_size,
            callback=progress.step, settings=problem.settings, left_out=problem.left_out,
        )  # fmt: skip
        first = next(batches)
        shape, dtype = first.x.shape[1:], first.result.x_adv.dtype
        if folder is None:
            _take(first, problem, finished, progress, None)
            for batch in batches:
                _take(batch, problem, finished, progress, None)
            return
        with ArrayWriter(folder / "x_adv.npy", shape, dtype) as writer:
            _take(first, problem, finished, progress, writer)
            for batch in batches:
                _take(batch, problem, finished, progress, writer)


def _take(
    batch: Batch,
    problem: Problem,
    finished: Finished,
    progress: SampleProgress,
    writer: ArrayWriter | None,
) -> None:
    if writer is not None:
        writer.append(batch.result.x_adv)
    finished.add(batch, problem)
    progress.batch_done(len(batch.x))


def _conclude(
    arguments: AttackArguments,
    problem: Problem,
    folder: Path | None,
    finished: Finished,
    seconds: float,
) -> None:
    everybody = joined(finished.results)
    done = len(everybody.success)
    left = problem.left_out[:done] if problem.left_out is not None else np.zeros(done, dtype=bool)
    result = selected(everybody, ~left)
    told = figures(result)
    if left.any():
        told["left out"] = f"{int(left.sum())}  Their label is the target already."
    said = [*problem.warnings, *everybody.warnings, *doubts(arguments, problem, result)]
    notes = list(dict.fromkeys(map(as_flags, said)))
    ended = {f"status {name}": f"{count}  {advice}" for name, count, advice in endings(result)}
    show_facts(_title(arguments), told | ended)
    warn(notes)
    if folder is None:
        return
    write_results(folder / "results.parquet", finished.columns)
    facts = _facts(arguments, problem, result, done, notes, seconds)
    write_run(folder / "run.json", facts)
    page = attack_page(
        _title(arguments), arguments.command(), told, result, notes, finished.examples,
        arguments.box(), facts,
    )  # fmt: skip
    write_report(folder / "report.html", page)
    say(f"written to {folder}: x_adv.npy, results.parquet, run.json, report.html")


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
) -> dict[str, Any]:
    used = {"batch_size": arguments.batch_size, "first_index": 0, "partition": arguments.partition}
    return {
        "command": arguments.command(),
        "arguments": {k: v for k, v in vars(arguments).items() if v is not None},
        "attack": find(arguments.attack).summary,
        "settings": result.settings | used,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples_asked": len(problem.inputs),
        "samples_done": done,
        "samples_left_out": done - len(result.success),
        "complete": done == len(problem.inputs),
        "seconds": seconds,
        "summary": result.summary(),
        "calls": vars(result.calls),
        "warnings": list(notes),
        "model_sha256": fingerprint(arguments.models),
        "data_sha256": fingerprint(problem.files),
        "versions": versions(),
        "machine": machine(),
        "working_folder": str(Path.cwd()),
    }
