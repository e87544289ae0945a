"""How far a run is: samples done, rate and remaining time, on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.4g} samples/s")


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:.0f}"
        return Text(f"{task.completed:.0f}/{total}")


class SampleProgress:
    """A bar over all samples of a run, fed by the attack's callback batch after batch.

    total: how many there are, None where nobody knows. Shown on a terminal alone.
    """

    def __init__(self, total: int | None, wanted: bool = True) -> None:
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Count(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # into a file or a pipe even the empty bar would leave a line
            disable=not (wanted and console.is_terminal),
        )
        self.task = self.bar.add_task("attacking", total=total)
        self.before = 0
        self.reached = 0.0

    def __enter__(self) -> SampleProgress:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def step(self, progress: Any) -> None:
        """The attack's callback: `done` samples of this call, and a step of the ones in flight."""
        share = min(progress.step / max(progress.steps, 1), 1.0)
        done = progress.done + (progress.total - progress.done) * share
        told = f"step {progress.step}/{progress.steps}, {progress.active} left"
        # a restart begins at step 1 again: the bar waits rather than walk back
        self.reached = max(self.reached, self.before + done)
        self.bar.update(self.task, completed=self.reached, description=told)

    def search(self, progress: Any) -> None:
        """The callback of a curve: `done` samples are settled, the others are attacked anew."""
        self.reached = max(self.reached, self.before + progress.done)
        told = f"step {progress.step}/{progress.steps}, {progress.active} left"
        self.bar.update(self.task, completed=self.reached, description=told)

    def batch_done(self, samples: int) -> None:
        """A whole call is finished."""
        self.before += samples
        self.bar.update(self.task, completed=self.before)

    def expect(self, total: int) -> None:
        """How many samples there are, as far as is known now."""
        self.bar.update(self.task, total=total)
