"""What is known of a run while its blocks come in, without their points, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import ModelError
from pertcore.evaluation import stream
from pertcore.evaluation.records import machine, versions
from pertcore.evaluation.runs import measures
from pertcore.evaluation.runs.failing import answered
from pertcore.evaluation.runs.measures import Told, rows_of
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.state import decoded
from pertcore.oracle import Array
from pertcore.result import AttackResult


@dataclass
class Finished:
    """What is known of the blocks that are done, by their first sample; not their points."""

    sizes: dict[int, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        self.sizes[block.start] = len(block)
        self.failed |= block.failed

    @property
    def starts(self) -> list[int]:
        """First samples of the blocks, in order: blocks are done in any."""
        return sorted(self.sizes)

    @property
    def done(self) -> int:
        return sum(self.sizes.values())

    @property
    def index(self) -> Array:
        """Positions of the samples on which the model did not fail.

        Raises ModelError where it failed on all.
        """
        everyone = [np.arange(start, start + self.sizes[start]) for start in self.starts]
        done = np.concatenate(everyone)
        index = done[~np.isin(done, list(self.failed))]
        if not len(index):
            why = next(iter(self.failed.values()))
            raise ModelError(f"the model failed on all {len(self.failed)} samples: {why}")
        return index

    def facts(self, kind: str, asked: int | None) -> dict[str, Any]:
        """What run.json says of every kind of run; asked: its samples, None where nobody knows."""
        complete = self.done == asked
        return {
            "kind": kind,
            "status": "finished" if complete else "stopped",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "samples_asked": asked,
            "samples_done": self.done,
            "failed": self.failed,
            "complete": complete,
            "versions": versions(),
            "machine": machine(),
            "working_folder": str(Path.cwd()),
        }


@dataclass
class Attacked(Finished):
    """The results of blocks without their points."""

    results: dict[int, AttackResult] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        super().add(block)
        if block.state:
            self.results[block.start] = decoded(block.state)

    def joined(self) -> AttackResult:
        """Of all samples on which the model did not fail; the parts are forgotten."""
        result = stream.joined([self.results[start] for start in sorted(self.results)])
        self.results.clear()  # all rows are in memory once
        return result


@dataclass
class Measures(Finished):
    """The rows of the samples on which the model did not fail, and what is known beside them."""

    rows: dict[int, dict[str, Array]] = field(default_factory=dict)
    told: dict[int, Told] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        super().add(block)
        if block.state:
            kept = answered(slice(block.start, block.start + len(block)), block.failed)
            rows = {name: np.asarray(values)[kept] for name, values in block.columns.items()}
            # a word in a part that was read again is an object of its own
            rows["status"] = rows["status"].astype(str)
            self.rows[block.start], self.told[block.start] = rows, Told.read(block.state)

    def joined(self) -> tuple[Told, dict[str, Array]]:
        """Of all samples on which the model did not fail; the parts are forgotten."""
        order = sorted(self.rows)
        told = measures.joined([self.told[start] for start in order])
        rows = rows_of(self.rows[start] for start in order)
        self.rows.clear()  # all rows are in memory once
        return told, rows
