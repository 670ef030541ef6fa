"""Making the engine, and what SQLite needs to be told.

Rules: `BEGIN` is ours. Python's sqlite3 would begin only before the first INSERT, UPDATE or DELETE, never before a
SELECT or DDL (its "legacy transaction control"), so reads in a transaction would not be isolated and migrations not
be atomic; `isolation_level = None` switches that off and the `begin` event sends our own.
"""

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from kms.errors import Code, KmsError

BUSY_TIMEOUT_MS = 30_000  # longer than enrolling 100,000 cards holds the write lock
READ_ONLY = "kms_read_only"  # execution option: this transaction writes nothing
DIALECTS = {"sqlite", "postgresql"}

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and one writer at a time, from several processes
    # In WAL mode NORMAL may lose the last commits at a power cut; a key set that is IN_FLIGHT on a card, and an audit
    # event of something done, must outlive one.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
)


def build_engine(url: str) -> Engine:
    """Make the engine for a SQLAlchemy URL (`sqlite:///file`, `postgresql+psycopg://...`). Opens no connection yet.

    Raises `config.invalid` for a URL that is none of these.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in DIALECTS:
            raise KmsError(Code.CONFIG_INVALID, "database.url: only sqlite and postgresql+psycopg are supported.")
        engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        text = (
            "database.url is no usable URL, or its driver is not installed (sqlite:///FILE, postgresql+psycopg://...)."
        )
        raise KmsError(Code.CONFIG_INVALID, text) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first: a transaction that begins by reading and then writes would fail at once,
    # whatever the busy timeout, when another wrote in between (SQLITE_BUSY_SNAPSHOT).
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
