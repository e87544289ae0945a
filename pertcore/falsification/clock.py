"""A time limit that is asked before each piece of work, and learns how long a piece takes."""

from __future__ import annotations

import time


class TimeIsUp(Exception):  # noqa: N818  (the limit is no error)
    """The next piece of work would not end in time."""


class Clock:
    """Counts `timeout` seconds from now.

    The clock decides when a search stops, never where it goes: what is found does not depend on
    the speed of the machine, unless nothing is found in time.
    """

    def __init__(self, timeout: float) -> None:
        self.started = time.perf_counter()
        self.end = self.started + timeout
        self._row_seconds = 0.0

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def left(self) -> float:
        return self.end - time.perf_counter()

    def check(self, rows: int = 0) -> None:
        """Raises TimeIsUp where no time is left for that many rows of the model."""
        if self.left() <= self._row_seconds * rows:
            raise TimeIsUp

    def took(self, rows: int, seconds: float) -> None:
        self._row_seconds = seconds / max(rows, 1)
