"""What a data set is to the rest: samples of one shape, read when sliced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pertcore.oracle import Array


@dataclass(frozen=True)
class Inputs:
    """`count` samples of one `shape`; `inputs[a:b]` reads (b - a, *shape) floats, contiguous.

    total: samples in the source before `limit`; lowest, highest: (value, sample index) over the
    samples in use; files: what was read, for a fingerprint; names: one a sample for images.
    """

    source: str
    shape: tuple[int, ...]
    count: int
    total: int
    read: Callable[[int, int], Array]
    lowest: tuple[float, int]
    highest: tuple[float, int]
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> Array:
        start, stop, _ = part.indices(self.count)
        return self.read(start, max(start, stop))
