"""`kms serve`, recorded: the SQL statements of each request, or a profile of each worker.

Run as `python -m bench.recorded_server --config FILE serve`. `KMS_BENCH_SQL=FILE` appends what becomes `Recorded`
values; `KMS_BENCH_PROFILE=FILE` writes cProfile's figures. For counting and explaining alone: what is measured is the
server as it is.
"""

import atexit
import cProfile
import os
import pickle
import pstats
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, request, request_started
from sqlalchemy import Connection, Engine, event

from kms.cli import cli
from kms.db.engine import READ_ONLY

BACKGROUND = ("alembic_version", "platform_state", "audit_checkpoints")  # the server's watches ask these of themselves
REQUEST, BEGIN, STATEMENT, COMMIT = "request", "begin", "statement", "commit"


@dataclass(frozen=True)
class Recorded:
    """One thing that happened. `text`: a request's path or an SQL statement; `parameters`: as the driver got them."""

    kind: str
    text: str = ""
    parameters: Any = None
    many: bool = False


def record_to(path: Path) -> None:
    """Append everything that requests do with the database to a file, from now on."""
    lock = threading.Lock()
    serving = threading.local()

    def write(kind: str, text: str = "", parameters: object = None, *, many: bool = False) -> None:
        if kind != REQUEST and not getattr(serving, "now", False):
            return
        with lock, path.open("ab") as file:
            pickle.dump((kind, text, _plain(parameters), many), file)

    def begin_request(_app: Flask, **_unused: object) -> None:
        serving.now = True
        write(REQUEST, request.path)

    def execute(_c: object, _cursor: object, statement: str, parameters: object, _context: object, many: bool) -> None:
        write(STATEMENT, statement, parameters, many=many)

    request_started.connect(begin_request, weak=False)
    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "begin", lambda connection: write(BEGIN, _get_begin(connection)))
    event.listen(Engine, "commit", lambda _connection: write(COMMIT))


def _get_begin(connection: Connection) -> str:
    """How `kms.db.engine` begins on SQLite."""
    return "BEGIN" if connection.get_execution_options().get(READ_ONLY, False) else "BEGIN IMMEDIATE"


def _plain(parameters: object) -> object:
    """What the driver got, in a form that can be stored: SQLite's driver gets bytes as views."""
    if isinstance(parameters, memoryview):
        return bytes(parameters)
    if isinstance(parameters, list | tuple):
        return type(parameters)(_plain(item) for item in parameters)
    if isinstance(parameters, dict):
        return {name: _plain(item) for name, item in parameters.items()}
    return parameters


def read_recorded(path: Path, start: int = 0) -> Iterator[Recorded]:
    """What a server recorded, in order, from a byte of the file on."""
    with path.open("rb") as file, suppress(EOFError):
        file.seek(start)
        while True:
            yield Recorded(*pickle.load(file))  # noqa: S301 - written by the process above


def profile_to(path: Path) -> None:
    """Profile every request of this process's workers; the figures are written when a worker ends."""
    profile = cProfile.Profile()
    lock = threading.Lock()
    full_dispatch: Callable[..., Any] = Flask.wsgi_app

    def measured(app: Flask, *arguments: Any) -> Any:  # noqa: ANN401 - WSGI
        with lock:
            profile.enable()
            try:
                return full_dispatch(app, *arguments)
            finally:
                profile.disable()
                pstats.Stats(profile).dump_stats(f"{path}.{os.getpid()}")

    setattr(Flask, "wsgi_app", measured)  # noqa: B010 - measuring from outside: mypy would not have it
    atexit.register(profile.disable)


def main() -> None:
    """Serve, recorded."""
    if sql := os.environ.get("KMS_BENCH_SQL"):
        record_to(Path(sql))
    if figures := os.environ.get("KMS_BENCH_PROFILE"):
        profile_to(Path(figures))
    cli(prog_name="kms")


if __name__ == "__main__":
    main()
