"""`pertcore falsify --csv FILE`: every instance of a list, several at once, each kept when done."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from pertcore.cli.console import show_table
from pertcore.cli.falsify import STOPPED, keywords, margin
from pertcore.cli.supervised import Answer, answers
from pertcore.errors import InputError
from pertcore.evaluation.records import (
    fingerprint,
    machine,
    ready_folder,
    versions,
    write_text,
)
from pertcore.evaluation.runs.folder import RunFolder, open_run

REFUSED = 1
COLUMNS = ("model", "spec", "verdict", "seconds", "margin", "rounds", "said")


@dataclass(frozen=True)
class Instance:
    """A line of the list: paths as they are written there, and as they are opened."""

    model: str
    spec: str
    timeout: float | None
    folder: Path

    def files(self) -> dict[str, str]:
        return {"model": _found(self.folder, self.model), "spec": _found(self.folder, self.spec)}


def run_all(
    *,
    model: Path | None,
    spec: Path | None,
    csv: Path,
    timeout: float | None,
    jobs: int | None,
    out: str | None,
    resume: bool,
    **options: Any,
) -> None:
    """Searches, prints a line each and a table; writes results.csv and witnesses/ to `out`."""
    if model is not None or spec is not None:
        raise InputError("--csv names the models and properties: give no other")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: expected a whole number >= 1")
    if resume and out is None:
        raise InputError("--resume: give the folder of the unfinished run with --out")
    shared = keywords(options, timeout)
    jobs = jobs or os.cpu_count() or 1
    if jobs > 1:
        shared["threads"] = shared["threads"] or 1
    listed = instances(csv)
    kept = None if out is None else _opened(ready_folder(out), csv, shared, timeout, resume)
    done = {} if kept is None else _read(kept, len(listed))
    stopped = False
    try:
        _search(listed, done, shared, timeout, jobs, kept)
    except KeyboardInterrupt:
        stopped = True
    finally:
        if kept is not None:
            _conclude(kept, listed, done)
            kept.lock.close()
    _show(done, len(listed))
    if stopped:
        typer.echo(f"pertcore: stopped: {len(done)} of {len(listed)} done", err=True)
        raise typer.Exit(STOPPED)
    if any(found.verdict == "error" for found in done.values()):
        raise typer.Exit(REFUSED)


def instances(path: Path) -> list[Instance]:
    """The lines of a list: model, property and, if given, seconds; or columns named in its first
    line, among them onnx, vnnlib and timeout. Paths are relative to the list's folder.

    Raises InputError, naming the line, for what is no such list.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
    except OSError as error:
        raise InputError(f"--csv {path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--csv {path}: this is no list of instances: {error}") from None
    numbered = [(number, row) for number, row in enumerate(rows, 1) if any(map(str.strip, row))]
    names = ["onnx", "vnnlib", "timeout"]
    head = [cell.strip().lower() for cell in numbered[0][1]] if numbered else []
    if {"onnx", "vnnlib"} <= set(head):
        names, numbered = head, numbered[1:]
    if not numbered:
        raise InputError(f"--csv {path}: lists no instance")
    return [_instance(path, number, names, row) for number, row in numbered]


def _instance(path: Path, number: int, names: Sequence[str], row: Sequence[str]) -> Instance:
    cells = dict(zip(names, map(str.strip, row), strict=False))
    if not (cells.get("onnx") and cells.get("vnnlib")):
        raise InputError(f"--csv {path}, line {number}: expected model,property,seconds")
    given = cells.get("timeout")
    try:
        timeout = float(given) if given else None
    except ValueError:
        timeout = 0.0
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InputError(f"--csv {path}, line {number}: {given}: expected seconds, more than 0")
    return Instance(cells["onnx"], cells["vnnlib"], timeout, path.parent)


def _found(folder: Path, name: str) -> str:
    """The file, or the same with .gz, as competitions store it."""
    path = folder / name
    packed = path.with_name(path.name + ".gz")
    return str(packed if packed.exists() and not path.exists() else path)


def _opened(
    folder: Path, path: Path, shared: dict[str, Any], timeout: float | None, resume: bool
) -> RunFolder:
    same = {"list": fingerprint([path]), "options": shared | {"timeout": timeout}}
    return open_run(folder, {"kind": "falsify", "machine": machine()}, same, resume)


def _read(kept: RunFolder, count: int) -> dict[int, Answer]:
    done = {}
    for number in range(count):
        part = _part(kept, number)
        if part.exists():
            held = json.loads(part.read_text("utf-8"))
            done[number] = Answer(**held | {"notes": tuple(held["notes"])})
    return done


def _part(kept: RunFolder, number: int) -> Path:
    return kept.parts / f"{number:06d}.json"


def _search(
    listed: Sequence[Instance],
    done: dict[int, Answer],
    shared: dict[str, Any],
    timeout: float | None,
    jobs: int,
    kept: RunFolder | None,
) -> None:
    """Fills `done` with what is missing in it."""
    left = [number for number in range(len(listed)) if number not in done]
    tasks = []
    for number in left:
        own = None if timeout is not None else listed[number].timeout
        tasks.append(shared | listed[number].files() | ({} if own is None else {"timeout": own}))
    for place, found in answers(tasks, jobs):
        number = left[place]
        if kept is not None:
            _keep(kept, number, found)
        done[number] = found
        one, told = listed[number], found.said or margin(found.margin)
        typer.echo(
            f"{len(done)}/{len(listed)} {found.verdict} {found.seconds:.2f} s  "
            f"{one.model} {one.spec}  {told}".rstrip()
        )


def _keep(kept: RunFolder, number: int, found: Answer) -> None:
    """The counterexample first: an instance whose record is there is done."""
    if found.verdict == "sat":
        folder = kept.path / "witnesses"
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{number:06d}.txt", found.text)
    write_text(_part(kept, number), json.dumps(dataclasses.asdict(found)))


def _conclude(kept: RunFolder, listed: Sequence[Instance], done: dict[int, Answer]) -> None:
    """results.csv, a row an instance that is done, in the order of the list; and run.json."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("number", *COLUMNS))
    for number in sorted(done):
        row = vars(listed[number]) | vars(done[number])
        table.writerow((number, *("" if row[name] is None else row[name] for name in COLUMNS)))
    write_text(kept.path / "results.csv", text.getvalue())
    complete = len(done) == len(listed)
    counts = dict(Counter(found.verdict for found in done.values()))
    facts = {
        "kind": "falsify", "machine": machine(), "versions": versions(), "same": kept.same,
        "status": "complete" if complete else "stopped", "complete": complete, "verdicts": counts,
    }  # fmt: skip
    kept.finish(facts)


def _show(done: dict[int, Answer], count: int) -> None:
    rows = []
    for verdict in ("sat", "unknown", "timeout", "error"):
        seconds = [found.seconds for found in done.values() if found.verdict == verdict]
        told = [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"] if seconds else ["", ""]
        rows.append([verdict, str(len(seconds)), *told])
    header = ["verdict", "instances", "median seconds", "most"]
    show_table(f"{len(done)} of {count} instances", header, rows)
