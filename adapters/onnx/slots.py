"""Memory for small batches that stays: inputs and outputs are handed to ONNX Runtime once.

A run of a small model takes no longer than what is around it. Where batches of one size follow each
other, a slot holds what a linearisation reads and writes: a run is then a copy in, the run, and a
copy out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pertcore.adapters.onnx.sessions import Bound

# Bytes of the values of a slot, at most: what computes more hardly feels the handing over.
LARGEST = 1 << 20
# Batch sizes for which slots are kept, and how many for each.
SIZES, EACH = 4, 2


@dataclass(slots=True)
class Slot:
    """The residuals of one linearisation, `values`, and the sessions bound to them; a product that
    runs takes its own away meanwhile, so that no two threads write to one input."""

    values: dict[str, Any]
    linearize: Bound
    products: dict[str, Bound] = field(default_factory=dict)


class Slots:
    """The slots of an engine that nobody has."""

    def __init__(self) -> None:
        self._free: dict[int, list[Slot]] = {}
        self._last = 0

    def again(self, n: int) -> bool:
        """Whether the batch before had n samples, too: only then is a slot worth its making."""
        before, self._last = self._last, n
        return before == n

    def take(self, n: int) -> Lease | None:
        """One for n samples, if there is one. Threads may ask at once: `pop` is atomic."""
        try:
            free = self._free[n]
            return Lease(free.pop(), free)
        except (KeyError, IndexError):
            return None

    def put(self, n: int, slot: Slot) -> None:
        """A new one for n samples; those of other sizes are dropped where there are many sizes."""
        if n not in self._free and len(self._free) >= SIZES:
            self._free = {}
        _put(slot, self._free.setdefault(n, []))


class Lease:
    """A slot in use: it goes back when the last who reads its values is gone."""

    __slots__ = ("_free", "slot")

    def __init__(self, slot: Slot, free: list[Slot]) -> None:
        self.slot, self._free = slot, free

    def __del__(self) -> None:
        _put(self.slot, self._free)


def _put(slot: Slot, free: list[Slot]) -> None:
    if len(free) < EACH:
        free.append(slot)
