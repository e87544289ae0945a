"""The command that searches counterexamples, and its flags; imports nothing heavy itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def falsify(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL.onnx", help="ONNX file, or .gz of one.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Argument(metavar="SPEC.vnnlib", help="VNN-LIB 1.0, or .gz of it.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Many: lines of model,spec,timeout.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds, the start included; 60, or those of --csv.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the search at most.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes of --csv; as many as cores.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads of the model.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same seed, same bits.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(help="File for the answer; with --csv a folder for all.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished --csv run in --out.")
    ] = False,
) -> None:
    """Search a counterexample to a VNN-LIB property, and replay it on the model as it is.

    Prints sat and the counterexample in the format of VNN-COMP, else unknown, timeout or error:
    a search that fails proves nothing.
    """
    given = dict(locals())
    if given["csv"] is None:
        from pertcore.cli.falsify import run

        run(**given)
    else:
        from pertcore.cli.instances import run_all

        run_all(**given)
