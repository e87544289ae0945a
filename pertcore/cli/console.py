"""What a command shows: tables on standard output, warnings on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pertcore.cli.flags import as_flags


def output() -> Console:
    """Standard output; wide enough not to fold tables when it is a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 160))
    return console


def show_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are figures."""
    table = Table(show_header=bool(any(header)))
    for place, name in enumerate(header):
        table.add_column(escape(name), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _print(title, table)


def show_facts(title: str, facts: dict[str, str]) -> None:
    """Names and what is known, one a line."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(escape(name), escape(value))
    _print(title, table)


def _print(title: str, table: Table) -> None:
    # above the table, not in it: there a long path would be folded
    output().print(f"[italic]{escape(title)}[/]", soft_wrap=True)
    output().print(table)


def say(text: str) -> None:
    """One line on standard output."""
    output().print(escape(text), soft_wrap=True)


def warn(texts: Iterable[str]) -> None:
    """Warnings on standard error in the words of the command line, each once and on one line."""
    console = Console(stderr=True, highlight=False)
    for text in dict.fromkeys(map(as_flags, texts)):
        console.print(f"[yellow]warning:[/] {escape(' '.join(text.split()))}", soft_wrap=True)
