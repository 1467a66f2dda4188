"""How commands show what they found: tables for people on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.columns import Columns
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from services.admin.findings import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """Write a line of plain text to standard output."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Write a line of plain text to standard error."""
    err.print(text, markup=False, highlight=False, soft_wrap=True)


def write_bytes(data: bytes) -> None:
    """Write bytes and a line break to standard output, for programs to read."""
    sys.stdout.write(data.decode() + "\n")


def show_findings(title: str, findings: Sequence[Finding]) -> None:
    """Show findings as a table."""
    rows = ((f.check, Text(f.status, style=_STYLES[f.status]), f.says, f.remedy) for f in findings)
    show_table(title, ("check", "", "found", "to do"), rows)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Show a table; cells are text, never markup. Piped, it is as wide as it needs."""
    table = _make_table(title, columns, rows)
    if out.is_terminal:
        out.print(table)
    else:
        Console(width=240).print(table)


def show_beside(tables: Sequence[tuple[str, Sequence[str], Iterable[Sequence[str | Text]]]]) -> None:
    """Show tables of a title, columns and rows side by side, or below one another where the terminal is too narrow."""
    shown = Columns([_make_table(*table) for table in tables], padding=(0, 3))
    if out.is_terminal:
        out.print(shown)
    else:
        Console(width=240 * max(len(tables), 1)).print(shown)


def _make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a progress display on standard error that goes away when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield progress
