"""What a command shows: tables on standard output, progress and warnings on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pertcore.cli.flags import as_flags


def output() -> Console:
    """Standard output; wide enough not to fold tables when it is a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 160))
    return console


def show_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are figures."""
    table = Table(title=escape(title), title_justify="left", show_header=bool(any(header)))
    for place, name in enumerate(header):
        table.add_column(escape(name), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    output().print(table)


def show_facts(title: str, facts: dict[str, str]) -> None:
    """Names and what is known, one a line."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(escape(name), escape(value))
    output().print(table)


def say(text: str) -> None:
    """One line on standard output."""
    output().print(escape(text), soft_wrap=True)


def warn(texts: Iterable[str]) -> None:
    """Warnings on standard error in the words of the command line, each once and on one line."""
    console = Console(stderr=True, highlight=False)
    for text in dict.fromkeys(map(as_flags, texts)):
        console.print(f"[yellow]warning:[/] {escape(' '.join(text.split()))}", soft_wrap=True)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.4g} samples/s")


class SampleProgress:
    """A bar over all samples of a run, fed by the attack's callback batch after batch."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # into a file or a pipe even the empty bar would leave a line
            disable=not console.is_terminal,
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
