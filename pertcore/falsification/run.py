"""`falsify`: a counterexample to a VNN-LIB property of an ONNX model, or the reason for none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pertcore.errors import InputError
from pertcore.falsification.cases import Cases
from pertcore.falsification.clock import Clock, TimeIsUp
from pertcore.falsification.model import Model
from pertcore.falsification.search import Search
from pertcore.falsification.vnnlib import read
from pertcore.falsification.witness import Witness


@dataclass(frozen=True)
class Falsification:
    """`verdict` is "sat" with a replayed `witness`, "timeout", or "unknown": after all rounds, or
    where no input can be moved. It is never "unsat": a search that fails proves nothing. `notes`
    says what was approximated."""

    verdict: str
    witness: Witness | None
    seconds: float
    rounds: int
    notes: tuple[str, ...]

    def text(self) -> str:
        """As in the competition: the verdict, and below it ((X_0 v) ... (Y_0 v) ...)."""
        return self.verdict + "\n" + (self.witness.text() if self.witness else "")


def falsify(
    model: str | Path,
    spec: str | Path,
    *,
    timeout: float = 60.0,
    rng: int = 0,
    rounds: int | None = None,
    threads: int | None = None,
    deterministic: bool = False,
) -> Falsification:
    """Searches inputs of an ONNX file for which all that a VNN-LIB 1.0 property asserts holds.

    `model` is a path (.onnx, or compressed by gzip), `spec` a path (.vnnlib, .vnnlib.gz); `timeout`
    in seconds, `rounds` of the search at most (None: until the time is up), `threads` of the model
    (None: one for files below 8 MiB). The same `rng` gives the same witness for as long as the
    number of threads does not change the bits of the model; `deterministic` takes one thread. A
    run of the model that never ends is not interrupted: `pertcore falsify` does that, in a process
    of its own.

    A witness was run on the untouched file by a new session of ONNX Runtime; it lies in the closed
    box, whose decimal bounds are rounded inward to the input's dtype, and every atom holds as
    written in exact arithmetic. An input whose bounds hold no float of that dtype takes the
    nearest, and `notes` says so.

    Raises InputError for a broken property, one that does not fit the model, or inputs without
    bounds; ModelError for a broken model, CapabilityError for one whose inputs are not floats.
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise InputError(f"timeout={timeout}: expected seconds, more than 0")
    if rounds is not None and rounds < 1:
        raise InputError(f"rounds={rounds}: expected 1 or more")
    clock = Clock(timeout)
    prop = read(spec)
    opened = Model(model, prop, threads=1 if deterministic else threads)
    cases = Cases(prop, opened.dtype)
    search = Search(prop, opened, cases, clock, np.random.default_rng(rng))
    verdict = "unknown"
    try:
        search.run(rounds)
    except TimeIsUp:
        verdict = "timeout"
    note = search.note()
    notes = opened.notes + ([note] if note else [])
    if search.witness is not None:
        verdict = "sat"
    return Falsification(verdict, search.witness, clock.seconds(), search.rounds, tuple(notes))
