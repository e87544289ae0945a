"""`pertcore attack`: refuse what is wrong, stream batches, keep what is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer

from pertcore.attacks.registry import find
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.attack_blocks import block_work, lost_block, posed_work, restored
from pertcore.cli.console import SampleProgress, say, show_facts, warn
from pertcore.cli.doubts import doubts
from pertcore.cli.flags import as_flags
from pertcore.cli.problem import Problem, pose
from pertcore.errors import InputError, ModelError
from pertcore.evaluation.page import page_of
from pertcore.evaluation.page_parts import endings
from pertcore.evaluation.pictures import Example, example_at
from pertcore.evaluation.records import (
    fingerprint,
    machine,
    ready_folder,
    versions,
)
from pertcore.evaluation.report import shown, write_report
from pertcore.evaluation.runs.engine import RayEngine
from pertcore.evaluation.runs.failing import told
from pertcore.evaluation.runs.folder import RunFolder, in_blocks, open_run
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.state import decoded
from pertcore.evaluation.stream import joined, selected
from pertcore.oracle import Array
from pertcore.result import AttackResult

STOPPED = 130
SHOWN_FOOLED, SHOWN_KEPT = 9, 3
# Flags that do not decide what the rows are: a run may go on with others.
ANYWHERE = ("out", "resume", "engine", "address", "workers")


@dataclass
class Finished:
    """What is known of the blocks that are done, by their first sample; not their points."""

    results: dict[int, AttackResult] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        self.sizes[block.start] = len(block)
        self.failed |= block.failed
        if block.state:
            self.results[block.start] = decoded(block.state)

    @property
    def starts(self) -> list[int]:
        """First samples of the blocks, in order: blocks are done in any."""
        return sorted(self.sizes)

    @property
    def done(self) -> int:
        return sum(self.sizes.values())

    @property
    def index(self) -> Array:
        """Positions of the samples that the joined result is about."""
        everyone = [np.arange(start, start + self.sizes[start]) for start in self.starts]
        done = np.concatenate(everyone) if everyone else np.arange(0)
        return done[~np.isin(done, list(self.failed))]

    def joined(self) -> AttackResult:
        """Of all samples on which the model did not fail. Raises ModelError where it always did."""
        if not self.results:
            why = next(iter(self.failed.values()))
            raise ModelError(f"the model failed on all {len(self.failed)} samples: {why}")
        return joined([self.results[start] for start in sorted(self.results)])


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
        if finished.sizes:
            _conclude(arguments, problem, kept, finished, seconds)
        if kept is not None:
            kept.lock.close()
    if stopped:
        done = finished.done
        where = f", kept in {folder}; --resume goes on" if folder is not None and done else ""
        typer.echo(
            f"pertcore: stopped: {done} of {len(problem.inputs)} samples done{where}", err=True
        )
        raise typer.Exit(STOPPED)


def _opened(folder: Path, arguments: AttackArguments, problem: Problem) -> RunFolder:
    said = {k: v for k, v in vars(arguments).items() if k not in ANYWHERE}
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
        compute = _engine(arguments, problem, progress)
        for block in in_blocks(kept, len(problem.inputs), arguments.batch_size, compute):
            finished.add(block)
            progress.batch_done(len(block))


def _engine(
    arguments: AttackArguments, problem: Problem, progress: SampleProgress
) -> Callable[[Sequence[slice]], Iterable[Block]]:
    if arguments.engine == "local":
        return partial(map, block_work(problem, progress.step))
    threads = arguments.threads or 1
    own = replace(arguments, threads=threads)
    return RayEngine(
        partial(posed_work, own), partial(lost_block, problem), arguments.address,
        arguments.workers, threads,
    )  # fmt: skip


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
            found.append(example_at(x, alone, 0, place))
    return found


def _conclude(
    arguments: AttackArguments,
    problem: Problem,
    kept: RunFolder | None,
    finished: Finished,
    seconds: float,
) -> None:
    result = everybody = finished.joined()
    finished.results.clear()  # all rows are in memory once
    left = np.zeros(len(result.success), dtype=bool)
    if problem.left_out is not None:
        left = problem.left_out[finished.index]
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
    facts = _facts(arguments, problem, result, finished, notes, seconds, kept.same)
    examples = _examples(kept, finished, everybody, problem)
    _write_examples(kept.path / "examples.npz", examples)
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
    finished: Finished,
    notes: Sequence[str],
    seconds: float,
    same: dict[str, Any],
) -> dict[str, Any]:
    used = {"batch_size": arguments.batch_size, "first_index": 0, "partition": arguments.partition}
    done = finished.done
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
        "samples_left_out": done - len(finished.failed) - len(result.success),
        "failed": finished.failed,
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
