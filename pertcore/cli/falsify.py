"""`pertcore falsify MODEL SPEC`: one search, its answer on standard output or in a file."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import typer

from pertcore.cli.flags import as_flags
from pertcore.cli.supervised import Answer, answers
from pertcore.errors import InputError

TIMEOUT = 60.0
ERROR, STOPPED = "error\n", 130


def run(
    *,
    model: Path | None,
    spec: Path | None,
    timeout: float | None,
    jobs: int | None,
    out: str | None,
    resume: bool,
    **options: Any,
) -> None:
    """Searches and prints; an error is said on standard error, and its exit code raised."""
    started = time.perf_counter()
    if model is None or spec is None:
        raise InputError("--csv is not given: expected MODEL.onnx and SPEC.vnnlib")
    if jobs is not None or resume:
        raise InputError(f"--{'resume' if resume else 'jobs'}: for runs of --csv alone")
    given = keywords(options, timeout) | {"model": str(model), "spec": str(spec)}
    target = None if out is None else _target(out, model, spec)
    try:
        _, found = next(answers([given], 1, started))
    except KeyboardInterrupt:
        typer.echo("pertcore: stopped", err=True)
        raise typer.Exit(STOPPED) from None
    text = found.text or ERROR
    if target is None:
        typer.echo(text, nl=False)
    else:
        target.write_text(text)
        typer.echo(found.verdict)
    _explain(found)
    if found.code:
        raise typer.Exit(found.code)


def keywords(options: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    """Keywords of `pertcore.falsify`. Raises InputError for what no search takes."""
    given = {"timeout": TIMEOUT if timeout is None else timeout}
    if not (math.isfinite(given["timeout"]) and given["timeout"] > 0):
        raise InputError(f"--timeout {timeout}: expected seconds, more than 0")
    for name in ("rounds", "threads"):
        if options[name] is not None and options[name] < 1:
            raise InputError(f"--{name} {options[name]}: expected a whole number >= 1")
    if options["seed"] < 0:
        raise InputError(f"--seed {options['seed']}: expected a whole number >= 0")
    names = ("rounds", "threads", "deterministic")
    return given | {name: options[name] for name in names} | {"rng": options["seed"]}


def _target(out: str, *inputs: Path) -> Path:
    """The file to write, tried before any work; what it holds is kept until then."""
    if not out:
        raise InputError("--out is empty: give a file")
    target = Path(out)
    if any(path.exists() and target.exists() and target.samefile(path) for path in inputs):
        raise InputError(f"--out {out}: would overwrite an input")
    try:
        target.open("a").close()
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there ({error.strerror})") from None
    return target


def _explain(found: Answer) -> None:
    for note in found.notes:
        typer.echo(f"warning: {' '.join(as_flags(note).split())}", err=True)
    if found.verdict == "error":
        typer.echo(f"pertcore: {found.said}", err=True)
    elif found.verdict == "sat":
        typer.echo(f"margin {margin(found.margin)}; replayed; {found.seconds:.2f} s", err=True)
    elif found.verdict == "unknown":
        typer.echo(
            f"no counterexample in {found.rounds} rounds, {found.seconds:.2f} s: proves nothing",
            err=True,
        )


def margin(value: float | None) -> str:
    """The margin of a counterexample in words, "" for none."""
    if value is None:
        return ""
    if math.isinf(value):
        return "unlimited: the outputs are free"
    return f"{value:.6g}" if value > 0 else "0: on a boundary that belongs to it"
