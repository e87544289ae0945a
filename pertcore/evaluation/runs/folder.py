"""The folder of one run: locked while it is alive, and never another run's by mistake."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pertcore.errors import InputError
from pertcore.evaluation.records import versions, write_run
from pertcore.evaluation.runs.parts import Block, join_parts, read_part, read_point, write_part
from pertcore.oracle import Array


@dataclass(frozen=True)
class RunFolder:
    """A folder that this process alone may write to until it ends, even by kill -9."""

    path: Path
    lock: BinaryIO
    same: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    def join(self, starts: list[int]) -> None:
        """results.parquet and x_adv.npy from the parts that begin at `starts`."""
        join_parts(self.parts, starts, self.path / "results.parquet", self.path / "x_adv.npy")

    def point(self, place: int, starts: list[int]) -> Array:
        """The point of one sample, from the part among `starts` that holds it."""
        start = max(start for start in starts if start <= place)
        return read_point(self.parts, start, place)

    def finish(self, facts: dict[str, Any]) -> None:
        """run.json, and after a complete run the parts go."""
        write_run(self.path / "run.json", facts)
        if facts["complete"]:
            shutil.rmtree(self.parts)


def open_run(path: Path, facts: dict[str, Any], same: dict[str, Any], resume: bool) -> RunFolder:
    """Lock the folder, compare it with this run, write run.json with status running.

    same: name -> what must be equal for a run to go on. Raises InputError where another process
    is at work in it, where it holds an unfinished run and `resume` is False, where there is
    nothing to resume, and where the run to resume differs, naming what.
    """
    lock = _locked(path)
    try:
        said = _compared(path, json.loads(json.dumps(same, default=str)), resume)
    except InputError:
        lock.close()
        raise
    if not resume:
        shutil.rmtree(path / "parts", ignore_errors=True)
    (path / "parts").mkdir(exist_ok=True)
    begun = {"status": "running", "complete": False, "versions": versions(), "same": same}
    write_run(path / "run.json", facts | begun)
    return RunFolder(path, lock, same, said)


def in_blocks(
    run: RunFolder | None,
    count: int,
    size: int,
    compute: Callable[[Sequence[slice]], Iterable[Block]],
) -> Iterator[Block]:
    """The blocks that are in the folder already, then the others as `compute` makes them, in
    whatever order; each is in the folder before it comes out."""
    todo = []
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        kept = None if run is None else read_part(run.parts, rows)
        if kept is None:
            todo.append(rows)
        else:
            yield kept
    for block in compute(todo) if todo else ():
        if run is not None:
            write_part(run.parts, block)
        yield block


def _locked(path: Path) -> BinaryIO:
    import fcntl

    lock = (path / ".lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InputError(
            f"out={path}: another run is at work in this folder: wait for it or give another"
        ) from None
    return lock


def _compared(path: Path, same: dict[str, Any], resume: bool) -> tuple[str, ...]:
    try:
        there = json.loads((path / "run.json").read_text())
    except (OSError, ValueError):
        there = {}
    unfinished = not there.get("complete", False) and any((path / "parts").glob("*.json"))
    if not resume and unfinished:
        raise InputError(
            f"out={path}: holds an unfinished run: go on with resume=True, or give another folder"
        )
    if not resume:
        return ()
    if "same" not in there or there.get("complete"):
        what = "the run there is complete" if there.get("complete") else "no run was begun there"
        raise InputError(f"resume=True: nothing to go on with in {path}: {what}")
    before = there["same"]
    differing = [name for name in {**before, **same} if before.get(name) != same.get(name)]
    if differing:
        told = "; ".join(f"{n}: {before.get(n)} then, {same.get(n)} now" for n in differing)
        raise InputError(f"out={path}: another run: {told}")
    old, new = there["versions"], versions()
    return tuple(
        f"resumed with {name} {new.get(name)}, begun with {old.get(name)}: rows may differ"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    )
