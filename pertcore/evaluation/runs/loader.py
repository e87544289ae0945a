"""Batches of a loader as the samples of a run: read once, in order, and recognised again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.arrays import as_numpy, taken_apart
from pertcore.errors import InputError
from pertcore.oracle import Array, Oracle


@dataclass(frozen=True)
class Part:
    """Samples `start` onwards of a data set whose others are not at hand."""

    start: int
    values: Array
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice, /) -> Array:
        return self.values[rows.start - self.start : rows.stop - self.start]


@dataclass(frozen=True)
class Loaded:
    """One batch, posed as a block of a run is (`rows.Posed`). data: its digest."""

    oracle: Oracle
    inputs: Part
    labels: Part | None
    targets: Part | None
    settings: dict[str, Any]
    data: str

    @property
    def y(self) -> Part | None:
        return self.labels if self.targets is None else self.targets

    @property
    def left_out(self) -> None:
        return None

    @property
    def rows(self) -> slice:
        return slice(self.inputs.start, self.inputs.start + len(self.inputs))


@dataclass
class Reader:
    """The batches of a loader, one pass over it. done: samples read."""

    oracle: Oracle
    settings: dict[str, Any]
    done: int = 0
    seen: tuple[Any, Any] = field(
        default_factory=lambda: (hashlib.sha256(), hashlib.sha256()), repr=False
    )

    def batches(self, loader: Iterable[Any]) -> Iterator[Loaded]:
        """Raises InputError for a batch that is none, and for a loader without any."""
        for number, batch in enumerate(loader):
            yield self._posed(batch, number)
        if not self.done:
            raise InputError("the loader gave no batch: it is empty, or was read to its end before")

    @property
    def data_sha256(self) -> dict[str, str]:
        """Of all x and all y that were read, however they were cut into batches."""
        names = ("x of the loader", "y of the loader")
        return {name: held.hexdigest() for name, held in zip(names, self.seen, strict=True)}

    def _posed(self, batch: Any, number: int) -> Loaded:
        given, rest = taken_apart(batch)
        x = as_numpy(given, f"x of batch {number}")[0]
        y = as_numpy(rest[0], f"y of batch {number}")[0] if rest else None
        if y is not None and len(y) != len(x):
            raise InputError(f"batch {number} has {len(x)} samples and {len(y)} answers y")
        start, told = self.done, hashlib.sha256()
        for values, whole in zip((x, y), self.seen, strict=True):
            if values is None:
                continue
            held = np.ascontiguousarray(values)
            told.update(f"{held.dtype.str} {held.shape} ".encode())
            told.update(held.data.cast("B"))
            whole.update(held.data.cast("B"))
        self.done += len(x)
        answers = None if y is None else Part(start, y)
        aimed = bool(self.settings.get("targeted"))
        return Loaded(
            self.oracle, Part(start, x), None if aimed else answers, answers if aimed else None,
            self.settings, told.hexdigest(),
        )  # fmt: skip


def shuffled(loader: Any) -> bool:
    """Whether a torch DataLoader gives its samples in another order with every pass."""
    return type(getattr(loader, "sampler", None)).__name__ in (
        "RandomSampler",
        "WeightedRandomSampler",
    )
