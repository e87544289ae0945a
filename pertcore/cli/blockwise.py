"""A command that works on a data set block after block, in a folder that it can go on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer

from pertcore.attacks.registry import find
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.console import say
from pertcore.cli.problem import Problem
from pertcore.errors import InputError
from pertcore.evaluation.page import page_of
from pertcore.evaluation.records import fingerprint, ready_folder
from pertcore.evaluation.report import write_report
from pertcore.evaluation.runs.engine import RayEngine, Work
from pertcore.evaluation.runs.finished import Finished
from pertcore.evaluation.runs.folder import RunFolder, in_blocks, open_run
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.progress import SampleProgress
from pertcore.evaluation.runs.rows import lost_block

STOPPED = 130
# Flags that do not decide what the rows are: a run may go on with others.
ANYWHERE = ("out", "resume", "engine", "address", "workers")
Compute = Callable[[Sequence[slice]], Iterable[Block]]


@dataclass(frozen=True)
class Workplace:
    """How blocks are computed: `here` in this process, which shows how far they are, or by
    workers that pose the problem themselves with `there`, a function of a module."""

    here: Callable[[SampleProgress], Work]
    there: Callable[[AttackArguments], Work]


def folder_of(arguments: AttackArguments) -> Path | None:
    """--out, ready to be written to; InputError where --resume stands alone."""
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: give the folder of the unfinished run with --out")
    return None if arguments.out is None else ready_folder(arguments.out)


def blockwise(
    arguments: AttackArguments,
    problem: Problem,
    folder: Path | None,
    workplace: Workplace,
    finished: Finished,
    conclude: Callable[[RunFolder | None, float], None],
) -> None:
    """Every block computed or found in the folder and told to `finished`, then concluded, with the
    seconds it took; typer.Exit(130) after Ctrl-C, with what is finished kept and concluded."""
    kept = None if folder is None else _opened(folder, arguments, problem)
    started, stopped = time.perf_counter(), False
    count = len(problem.inputs)
    try:
        with SampleProgress(count) as progress:
            compute = _engine(arguments, problem, workplace, progress)
            for block in in_blocks(kept, count, arguments.batch_size, compute):
                finished.add(block)
                progress.batch_done(len(block))
    except KeyboardInterrupt:
        stopped = True
    finally:
        seconds = time.perf_counter() - started
        if finished.sizes:
            conclude(kept, seconds)
        if kept is not None and finished.sizes:
            # from the folder alone, when the rows in memory are gone
            write_report(kept.path / "report.html", page_of(kept.path))
            say(f"written to {kept.path}: x_adv.npy, results.parquet, run.json, report.html")
        if kept is not None:
            kept.lock.close()
    if stopped:
        done = finished.done
        where = f", kept in {folder}; --resume goes on" if folder is not None and done else ""
        typer.echo(f"pertcore: stopped: {done} of {count} samples done{where}", err=True)
        raise typer.Exit(STOPPED)


def facts_of(
    arguments: AttackArguments, problem: Problem, finished: Finished, same: dict[str, Any]
) -> dict[str, Any]:
    """What run.json says of every run of a command."""
    return {
        **finished.facts(arguments.kind, len(problem.inputs)),
        "command": arguments.command(),
        "arguments": {k: v for k, v in vars(arguments).items() if v is not None},
        "attack": find(arguments.attack).summary,
        "box": arguments.box(),
        "same": same,
        "model_sha256": same["model"],
        "data_sha256": same["data"],
    }


def _opened(folder: Path, arguments: AttackArguments, problem: Problem) -> RunFolder:
    said = {k: v for k, v in vars(arguments).items() if k not in ANYWHERE}
    same = {"arguments": {k: str(v) for k, v in said.items() if v is not None}}
    same["model"] = fingerprint(arguments.models)
    same["data"] = fingerprint(problem.files)
    facts = {"kind": arguments.kind, "command": arguments.command()}
    return open_run(folder, facts, same, arguments.resume)


def _engine(
    arguments: AttackArguments, problem: Problem, workplace: Workplace, progress: SampleProgress
) -> Compute:
    if arguments.engine == "local":
        return partial(map, workplace.here(progress))
    threads = arguments.threads or 1
    own = replace(arguments, threads=threads)
    return RayEngine(
        partial(workplace.there, own), partial(lost_block, problem), arguments.address,
        arguments.workers, threads,
    )  # fmt: skip
