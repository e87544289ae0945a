"""Searches in processes of their own: ended when their time is up, and named when they crash."""

from __future__ import annotations

import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Of its time a search leaves this to be told in: a share, and seconds at most.
SHARE, MOST = 0.05, 0.2
CHUNK = 1 << 16


@dataclass(frozen=True)
class Answer:
    """`verdict` "sat", "unknown", "timeout" or "error"; `text` as the competition has it.

    `said` is the one line of an error and `code` its exit code; `margin` and `rounds` are None
    where the process was ended.
    """

    verdict: str
    seconds: float
    code: int = 0
    text: str = ""
    said: str = ""
    margin: float | None = None
    rounds: int | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Running:
    """A search at work: keywords of `pertcore.falsify`, and when its time is up."""

    number: int
    started: float
    end: float
    process: subprocess.Popen[bytes]
    told: bytearray = field(default_factory=bytearray)

    def answer(self) -> Answer:
        """After the end of its output."""
        seconds = time.perf_counter() - self.started
        code = self.process.wait()
        lines = self.told.decode("utf-8", "replace").strip().splitlines()
        if code == 0 and lines:
            found = json.loads(lines[-1])
            found["notes"] = tuple(found.get("notes", ()))
            return Answer(seconds=seconds, **found)
        return Answer("error", seconds, 1, said=f"the search {_ended(code)} without an answer")


def begun(number: int, given: dict[str, Any], started: float | None = None) -> Running:
    """A search as a process, its time counted from `started` (of time.perf_counter, else now)."""
    now = time.perf_counter()
    started = now if started is None else started
    left = given["timeout"] - (now - started)
    own = given | {"timeout": max(left - min(SHARE * left, MOST), 1e-3)}
    command = [sys.executable, "-P", "-m", "pertcore.cli.falsify_worker", json.dumps(own)]
    debug = None if os.environ.get("PERTCORE_DEBUG") else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=debug)
    return Running(number, started, started + given["timeout"], process)


def answers(
    tasks: Iterable[dict[str, Any]], jobs: int, started: float | None = None
) -> Iterator[tuple[int, Answer]]:
    """(place in `tasks`, answer) as they come in, `jobs` searches at once."""
    running: dict[int, Running] = {}
    with selectors.DefaultSelector() as selector:
        try:
            yield from _answered(enumerate(tasks), jobs, started, selector, running)
        finally:
            for one in running.values():
                _end(one)


def _answered(
    waiting: Iterator[tuple[int, dict[str, Any]]], jobs: int, started: float | None,
    selector: Any, running: dict[int, Running],
) -> Iterator[tuple[int, Answer]]:  # fmt: skip
    """As `answers`; `running` holds at any time what has to be ended."""
    while True:
        for number, given in itertools.islice(waiting, jobs - len(running)):
            one = running[number] = begun(number, given, started)
            selector.register(_output(one), selectors.EVENT_READ, one)
        if not running:
            return
        yield from _ready(selector, running)


def _ready(selector: Any, running: dict[int, Running]) -> Iterator[tuple[int, Answer]]:
    """Waits for the next output or the next end; what is complete leaves `running`."""
    next_end = min(one.end for one in running.values())
    for key, _ in selector.select(max(next_end - time.perf_counter(), 0)):
        one = key.data
        chunk = os.read(key.fd, CHUNK)
        one.told += chunk
        if not chunk:
            selector.unregister(key.fileobj)
            found = one.answer()
            _end(running.pop(one.number))
            yield one.number, found
    now = time.perf_counter()
    for one in [one for one in running.values() if one.end <= now]:
        selector.unregister(_output(one))
        _end(running.pop(one.number))
        yield one.number, Answer("timeout", time.perf_counter() - one.started, text="timeout\n")


def _output(one: Running) -> Any:
    return one.process.stdout


def _end(one: Running) -> None:
    one.process.kill()
    one.process.wait()
    for stream in (one.process.stdin, one.process.stdout):
        if stream is not None:
            stream.close()


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was ended by signal {-code} ({signal.Signals(-code).name}): a crash, or no memory,"
