"""How `kms` shows results: tables for people, JSON for programs, progress bars on standard error.

Rules: standard output holds the result and nothing else. Values are shown as `kms.service.plain_values` writes them.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from kms.service.plain_values import build_record, to_plain

__all__ = [
    "build_console",
    "build_record",
    "format_value",
    "print_json",
    "print_record",
    "print_rows",
    "show_progress",
]

Row = Mapping[str, object]

PIPED_WIDTH = 250  # wide enough that a pipe gets one line a row


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, as_json: bool, title: str = "") -> None:
    """Show `rows` as a table of `columns`, or every field of them as a JSON array."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"{title}: none." if title else "None.")
        return
    table = Table(title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(format_value(row.get(column))) for column in columns))
    build_console().print(table)


def print_record(record: Row, *, as_json: bool, title: str = "") -> None:
    """Show one record, a field a line, or as a JSON object."""
    if as_json:
        print_json(record)
        return
    table = Table(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name.replace("_", " "), Text(format_value(value)))
    build_console().print(table)


def print_json(value: object) -> None:
    """Show `value` as indented JSON."""
    click.echo(json.dumps(to_plain(value), indent=2, ensure_ascii=False))


def build_console() -> Console:
    """Make a console on standard output that does not wrap rows when it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


@contextmanager
def show_progress(
    label: str, total: int | None = None, *, as_json: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error; the block gets a function that takes (done, total).

    Nothing is shown for `--json` or when standard error is no terminal.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal, transient=True) as progress:
        task = progress.add_task(label, total=total)

        def advance(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        yield advance


def format_value(value: object) -> str:
    """One value as a cell of a table."""
    if value is None or value in ("", b"", ()):
        return "-"
    if isinstance(value, tuple | list):
        return " ".join(format_value(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(to_plain(value))
