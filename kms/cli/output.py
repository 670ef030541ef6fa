"""How `kms` shows results: tables for people, JSON for programs, progress bars on standard error.

Rules: standard output holds the result and nothing else. Bytes are shown as upper-case hex, times in UTC as ISO 8601.
A dataclass field with `repr=False` is never shown: that is how values say that they are nobody's to read.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = Mapping[str, object]

PIPED_WIDTH = 250  # wide enough that a pipe gets one line a row


def build_record(value: "DataclassInstance", **more: object) -> dict[str, object]:
    """Make a row of a frozen value: its shown fields in their order, then `more`."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    return fields | more


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
    click.echo(json.dumps(_to_json(value), indent=2, ensure_ascii=False))


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
    return str(_to_json(value))


def _to_json(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _to_json(build_record(value))
    return _to_plain(value)


def _to_plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    return value
