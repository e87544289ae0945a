"""A command that works on a data set block after block, in a folder that it can go on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import typer

from pertcore.cli.arguments import AttackArguments
from pertcore.cli.console import SampleProgress
from pertcore.cli.problem import Problem
from pertcore.errors import InputError
from pertcore.evaluation.records import fingerprint, ready_folder
from pertcore.evaluation.runs.folder import RunFolder, in_blocks, open_run
from pertcore.evaluation.runs.parts import Block

STOPPED = 130
Work = Callable[[slice], Block]
# The blocks that are done, in order and without their points.
Conclude = Callable[[RunFolder | None, list[Block]], None]


def folder_of(arguments: AttackArguments) -> Path | None:
    """--out, ready to be written to; InputError where --resume stands alone."""
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: give the folder of the unfinished run with --out")
    return None if arguments.out is None else ready_folder(arguments.out)


def blockwise(
    arguments: AttackArguments,
    problem: Problem,
    folder: Path | None,
    work: Callable[[SampleProgress], Work],
    conclude: Conclude,
) -> None:
    """Every block computed or found in the folder, then concluded; typer.Exit(130) after Ctrl-C,
    with the finished blocks kept and concluded."""
    kept = None if folder is None else _opened(folder, arguments, problem)
    blocks: dict[int, Block] = {}
    stopped = False
    try:
        with SampleProgress(len(problem.inputs)) as progress:
            size = arguments.batch_size
            for block, _ in in_blocks(kept, len(problem.inputs), size, work(progress)):
                blocks[block.start] = replace(block, points=None)
                progress.batch_done(len(block))
    except KeyboardInterrupt:
        stopped = True
    finally:
        if blocks:
            conclude(kept, [blocks[start] for start in sorted(blocks)])
        if kept is not None:
            kept.lock.close()
    if stopped:
        done = sum(map(len, blocks.values()))
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
    facts = {"kind": arguments.kind, "command": arguments.command()}
    return open_run(folder, facts, same, arguments.resume)
