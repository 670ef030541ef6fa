"""Making the engine, and what each of the two databases needs to be told.

Rules: on SQLite `BEGIN` is ours. Python's sqlite3 would begin only before the first INSERT, UPDATE or DELETE, never
before a SELECT or DDL (its "legacy transaction control"), so reads in a transaction would not be isolated and
migrations not be atomic; `isolation_level = None` switches that off and the `begin` event sends our own.

A transaction sees the database as of one moment on both: on SQLite because there is one writer at a time, on PostgreSQL
by REPEATABLE READ, where a row that another changed since is refused (`kms.db.faults`) instead of overwritten. So a
whole row may be read, changed and saved in one transaction. Every wait has an end, below that of the callers.
"""

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError, OperationalError

from kms.errors import Code, KmsError

READ_ONLY = "kms_read_only"
READING = {READ_ONLY: True, "postgresql_readonly": True}
"""Execution options of a transaction that writes nothing; PostgreSQL refuses it if it does."""

POSTGRESQL = "postgresql+psycopg"
DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite", "postgresql": POSTGRESQL, POSTGRESQL: POSTGRESQL}

BUSY_TIMEOUT_MS = 30_000  # longer than enrolling 100,000 cards holds the write lock

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers and one writer at a time, from several processes
    # In WAL mode NORMAL may lose the last commits at a power cut; a key set that is IN_FLIGHT on a card, and an audit
    # event of something done, must outlive one.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
)

SESSION_SETTINGS = {
    # Every statement is bounded (COMMIT too, which checks the foreign keys of all that an import wrote).
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    # Nothing waits for anything else with a transaction open; one that does belongs to a process that hangs.
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
}

CONNECTION_SETTINGS: dict[str, object] = {
    "connect_timeout": 3,  # seconds for each address; readiness must not wait for a machine that is gone
    # A connection whose other end vanished without a word (a lost machine, a firewall that forgot it) is given up.
    "tcp_user_timeout": 5_000,  # milliseconds that sent bytes may stay unacknowledged
    "keepalives_idle": 30,  # seconds
    "client_encoding": "utf8",  # whatever the machine's locale is
    "application_name": "kms",
}

POOL_SIZE = 5  # kept by each process
POOL_OVERFLOW = 10  # more while they are needed
POOL_WAIT_S = 5  # a transaction takes milliseconds: who waits longer is better told


def parse_url(url: str) -> URL:
    """Parse a SQLAlchemy URL: `sqlite:///FILE`, `postgresql://...` or `postgresql+psycopg://...`, always psycopg.

    Raises `config.invalid` for a URL that is none of these; its text does not repeat the URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _build_refusal() from error
    if parsed.drivername not in DRIVERS:
        raise _build_refusal()
    return parsed.set(drivername=DRIVERS[parsed.drivername])


def build_engine(url: str, *, existing: bool = False) -> Engine:
    """Make the engine for a URL (`parse_url`). Opens no connection yet.

    `existing`: a SQLite file that is missing is a database that is away, and is not made.

    Raises `config.invalid` for a URL that names no database of ours.
    """
    parsed = parse_url(url)
    try:
        return _build_sqlite(parsed, existing=existing) if parsed.drivername == "sqlite" else _build_postgresql(parsed)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, TypeError, ValueError) as error:
        raise _build_refusal() from error


def _build_refusal() -> KmsError:
    text = "database.url is no usable URL: sqlite:///FILE, or postgresql://USER@HOST/DATABASE."
    return KmsError(Code.CONFIG_INVALID, text)


def _build_sqlite(url: URL, *, existing: bool) -> Engine:
    path = Path(str(url.database))
    if existing:
        url = url.set(database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "connect", lambda _connection, record: record.info.update(file=_identify(path)))
    event.listen(engine, "checkout", lambda _connection, record, _proxy: _check_same_file(path, record.info["file"]))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_same_file(path: Path, opened: tuple[int, int] | None) -> None:
    """A file that was moved away is still open in the pool; what is written there now would be lost to others."""
    if opened is None or _identify(path) != opened:
        raise DisconnectionError


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first: a transaction that begins by reading and then writes would fail at once,
    # whatever the busy timeout, when another wrote in between (SQLITE_BUSY_SNAPSHOT).
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
    try:
        # Past SQLAlchemy, whose own way to a cursor takes longer than the statement.
        connection.connection.cursor().execute(begin)
    except sqlite3.Error as error:
        raise OperationalError(begin, None, error) from error  # as SQLAlchemy would: `kms.db.faults` knows it by that


def _build_postgresql(url: URL) -> Engine:
    # The URL's own settings stand: connection settings by name, session settings because the last -c of a name counts.
    ours = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
    theirs = url.query.get("options", "")
    settings = {name: value for name, value in CONNECTION_SETTINGS.items() if name not in url.query}
    settings["options"] = " ".join([ours, theirs] if isinstance(theirs, str) else [ours, *theirs]).strip()
    engine = create_engine(
        url.difference_update_query(["options"]),
        connect_args=settings,
        isolation_level="REPEATABLE READ",
        pool_pre_ping=True,  # a database that went away and came back is found by the next transaction
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_WAIT_S,
        use_native_hstore=False,  # spares a look for a type that no table has
        hide_parameters=True,
    )
    event.listen(engine, "commit", _check_unbroken)
    return engine


def _check_unbroken(connection: Connection) -> None:
    # After a refused statement PostgreSQL answers COMMIT by rolling back, without an error. Whoever caught the error
    # inside the block would believe to have written what is gone.
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.info.transaction_status is TransactionStatus.INERROR:
        raise RuntimeError("a transaction that met an error was left as if it had not; nothing of it is stored")
