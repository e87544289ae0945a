"""A run over the batches of any loader, in a folder that it can go on with: `run`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.attacks.options import whole
from pertcore.attacks.registry import Attack, find
from pertcore.errors import BackendError, InputError
from pertcore.evaluation.examples import write_examples
from pertcore.evaluation.page import page_of
from pertcore.evaluation.reading import KINDS, RESULTS, Kept
from pertcore.evaluation.records import ready_folder
from pertcore.evaluation.report import write_report
from pertcore.evaluation.runs.checked import DEFAULTS, check
from pertcore.evaluation.runs.failing import FAILURES, told
from pertcore.evaluation.runs.finished import Attacked, Measures
from pertcore.evaluation.runs.folder import RunFolder, open_run
from pertcore.evaluation.runs.identity import answers_at, same_model, spelled
from pertcore.evaluation.runs.loader import Loaded, Reader, shuffled
from pertcore.evaluation.runs.measures import Measured
from pertcore.evaluation.runs.parts import Block, read_part, recorded, write_part
from pertcore.evaluation.runs.shown import Shown
from pertcore.evaluation.runs.work import block_work
from pertcore.oracle import Oracle
from pertcore.result import AttackResult


def run(
    oracle: Oracle,
    loader: Iterable[Any],
    out: str | Path,
    *,
    kind: str = "attack",
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> AttackResult | Measured:
    """Attack or measure every batch of a loader, each kept in a folder before the next begins.

    loader: gives (x, y), (x, y, ...) or x alone, such as a torch DataLoader or a generator; x
    (n, *sample) floats, y (n,) classes (wanted ones with targeted=True) or (n, *out) floats. It is
    read once, and memory holds one batch. out: the folder, which gets what `pertcore attack`,
    `curve` or `robustness` write: results.parquet, x_adv.npy, run.json, report.html. kind: which
    of the three; settings: those of `pertcore.attack`, `curve` or `robustness`, rng a whole number.
    The random numbers of a sample depend on its place among all samples and not on the batches.

    After Ctrl-C, kill -9 or an error of the loader the same call with resume=True goes on: the
    loader is read from its beginning, and batches that are finished are recognised and skipped. A
    sample on which the model fails, or that is refused (NaN, a label that is none) in any batch
    but the first, has a row of status FAILED. progress: a bar where standard error is a terminal.

    Returns the result over all samples that did not fail, without x_adv and delta, which lie in
    the folder. Raises InputError for a wrong call before any work, for a folder that holds
    another or an unfinished run, and where the loader or the model is not that of the run to
    resume; KeyboardInterrupt after Ctrl-C, when what is finished has been written.
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: allowed are {', '.join(KINDS)}")
    for name in ("first_index", "callback"):
        if name in settings:
            raise InputError(f"{name}={settings[name]!r}: a run over a loader has no such argument")
    if not hasattr(loader, "__iter__"):
        raise InputError(f"loader is a {type(loader).__name__}: give batches, as a DataLoader does")
    whole("rng", settings.get("rng", 0), 0)
    bar = _bar(progress)
    folder = ready_folder(out, "out")
    reader = Reader(oracle, {"attack": DEFAULTS[kind], **settings})
    batches = reader.batches(loader)
    first = next(batches)
    one = slice(0, 1)
    y = None if first.y is None else first.y[one]
    check(kind, oracle, first.inputs[one], y, reader.settings)
    course = _Course.opened(kind, folder, reader, first, resume, shuffled(loader))
    return course.followed(_chained(first, batches), bar, _batches(loader))


@dataclass
class _Course:
    """One run under way; complete: the loader has no more, and the folder neither."""

    kind: str
    reader: Reader
    folder: RunFolder
    facts: dict[str, Any]
    finished: Attacked | Measures
    shown: Shown
    notes: list[str]
    complete: bool = False

    @classmethod
    def opened(
        cls, kind: str, path: Path, reader: Reader, first: Loaded, resume: bool, mixed: bool
    ) -> _Course:
        """The folder locked and ready; InputError where it or the model is another's."""
        name, settings = reader.settings["attack"], reader.settings
        row = name if isinstance(name, Attack) else find(name)
        answers, notes = answers_at(reader.oracle, first.inputs.values)
        if resume:
            same_model(path, answers)
        if mixed:
            notes += ["the loader shuffles: the index of a row is its place in this pass, and the "
                      "run cannot be resumed; give shuffle=False"]  # fmt: skip
        spoken = {name: spelled(value) for name, value in settings.items()}
        call = ", ".join(f"{name}={value}" for name, value in spoken.items())
        facts = {
            "kind": kind, "attack": row.summary, "model_answers": answers, "arguments":
            {"attack": row.name, "norm": settings.get("norm", "inf"), "eps": settings.get("eps")},
            "command": f"pertcore.run(oracle, loader, {str(path)!r}, kind={kind!r}, {call})",
        }  # fmt: skip
        folder = open_run(path, facts, {"kind": kind, **spoken}, resume)
        finished = Attacked() if kind == "attack" else Measures()
        return cls(kind, reader, folder, facts, finished, Shown(), notes)

    def followed(self, batches: Iterable[Loaded], bar: Any, count: int | None) -> Any:
        """Every batch computed or found in the folder, then concluded; so is what is finished
        where something ends the run."""
        started, result = time.perf_counter(), None
        try:
            with bar:
                self._through(batches, bar, count)
        finally:
            try:
                if self.finished.sizes:
                    result = self._concluded(time.perf_counter() - started)
            finally:
                self.folder.lock.close()
        return result

    def _through(self, batches: Iterable[Loaded], bar: Any, count: int | None) -> None:
        for batch in batches:
            if count is not None:
                bar.expect(max(count * len(batch.inputs), self.reader.done))
            block = self._block(batch, bar)
            self.finished.add(block)
            self.shown.see(batch, block)
            bar.batch_done(len(block))
        self._no_more()
        self.complete = True

    def _block(self, batch: Loaded, bar: Any) -> Block:
        parts, rows = self.folder.parts, batch.rows
        record = recorded(parts, rows.start)
        if record and (record.get("samples"), record.get("data")) != (
            len(batch.inputs),
            batch.data,
        ):
            raise InputError(
                f"resume=True: samples {rows.start} to {rows.stop - 1} of the loader are not those "
                "of the run to resume: it must give the same batches in the same order "
                "(shuffle=False, no random transforms), or start anew in another folder"
            )
        kept = read_part(parts, rows)
        if kept is not None:
            return kept
        step = bar.step if self.kind == "attack" else bar.search
        # once one batch went through, what is refused is the fault of single samples
        failures = (*FAILURES, InputError) if self.finished.sizes else FAILURES
        block = replace(block_work(batch, self.kind, step, failures)(rows), data=batch.data)
        write_part(parts, block)
        return block

    def _no_more(self) -> None:
        beyond = [int(path.stem) for path in self.folder.parts.glob("*.json")]
        beyond = [start for start in beyond if start not in self.finished.sizes]
        if beyond:
            raise InputError(
                f"resume=True: the loader ended after {self.reader.done} samples, and the run to "
                f"resume has samples from {min(beyond)} on: give the loader of that run"
            )

    def _concluded(self, seconds: float) -> Any:
        asked = self.reader.done if self.complete else None
        facts = {**self.facts, **self.finished.facts(self.kind, asked), "same": self.folder.same,
                 "box": _box(self.reader.settings.get("bounds")),
                 "model_sha256": {}, "data_sha256": self.reader.data_sha256,
                 "seconds": seconds, "samples_left_out": 0}  # fmt: skip
        index = self.finished.index
        result = self._result(facts)
        said = [*told(self.finished.failed), *self.folder.warnings, *self.notes, *result.warnings]
        result = replace(result, warnings=tuple(dict.fromkeys(said)))
        self.folder.join(self.finished.starts)
        examples = [e for e in self.shown.examples if e.index in index]
        write_examples(self.folder.path / "examples.npz", examples)
        facts |= {"settings": result.settings, "calls": vars(result.calls),
                  "summary": result.summary(), "warnings": result.warnings}  # fmt: skip
        self.folder.finish(facts)
        write_report(self.folder.path / "report.html", page_of(self.folder.path))
        return result

    def _result(self, facts: dict[str, Any]) -> Any:
        if isinstance(self.finished, Attacked):
            return self.finished.joined()
        parts, rows = self.finished.joined()
        held = {**facts, "settings": parts.settings, "calls": vars(parts.calls)}
        return replace(
            RESULTS[self.kind](Kept(self.folder.path, held, rows)), warnings=parts.warnings
        )


def _chained(first: Loaded, others: Iterator[Loaded]) -> Iterator[Loaded]:
    yield first
    yield from others


def _bar(wanted: bool) -> Any:
    """The bar; BackendError, before any work, where what a folder needs is not installed."""
    try:
        import pyarrow  # noqa: F401

        from pertcore.evaluation.runs.progress import SampleProgress
    except ModuleNotFoundError as error:
        raise BackendError(
            f"pertcore.run needs {error.name}: pip install 'pertcore[cli]'"
        ) from None
    return SampleProgress(None, wanted)


def _batches(loader: Any) -> int | None:
    """How many a pass gives, where the loader knows it."""
    try:
        return len(loader)
    except TypeError:
        return None


def _box(bounds: Any) -> Any:
    if bounds is None or any(np.ndim(end) for end in bounds):
        return None
    return [float(end) for end in bounds]
