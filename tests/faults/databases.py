"""The platform's database of a run, of either make, taken away and given back as it goes away in earnest.

Rules: SQLite's file is moved aside, PostgreSQL refuses connections and ends those that are open. Read-only is
`query_only` there and `default_transaction_read_only` here. Each run works on a copy of the prepared database.
"""

import shutil
import sqlite3
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Protocol

import psycopg
from psycopg import sql
from sqlalchemy import Engine, PoolProxiedConnection, event

from kms.db.engine import build_engine
from kms.db.store import SqlStore
from tests.fakes.postgres import TEMPLATE, Cluster, get_cluster
from tests.fakes.stores import build_database


class CommitFault(StrEnum):
    """What becomes of one COMMIT."""

    FAILS = "fails"  # the database did not do it
    UNKNOWN = "unknown"  # it did, and its answer was lost


class RunDatabase(Protocol):
    """A run's database. `next_commit`: what becomes of the next COMMIT; None: it is done."""

    next_commit: CommitFault | None

    def open_store(self) -> SqlStore:
        """What a server's process opens."""
        ...

    def keep(self) -> None:
        """Take what is in it now for the beginning of every run."""
        ...

    def renew(self) -> None:
        """Begin again: nothing of the run before is left."""
        ...

    def take_away(self) -> None:
        """It is not there any more."""
        ...

    def forbid_writing(self) -> None:
        """It is there and takes no changes."""
        ...

    def give_back(self) -> None:
        """It is there and takes changes, whatever was before."""
        ...

    def close(self) -> None:
        """No more runs: no connection is left open."""
        ...


class _Breakable:
    """An engine whose COMMIT breaks on demand, as the driver would say it."""

    def __init__(self) -> None:
        self.next_commit: CommitFault | None = None

    def _watch_commits(self, engine: Engine, error: Callable[[], Exception]) -> Engine:
        commit = engine.dialect.do_commit

        def do_commit(connection: PoolProxiedConnection) -> None:
            fault, self.next_commit = self.next_commit, None
            if fault is CommitFault.FAILS:
                raise error()
            commit(connection)
            if fault is CommitFault.UNKNOWN:
                raise error()

        engine.dialect.do_commit = do_commit  # type: ignore[assignment,method-assign] # of this engine alone
        return engine


class SqliteRun(_Breakable):
    """A SQLite file. Without fsync: a crash here is an exception, no power cut."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True)
        build_database(folder)
        self._path, self._aside, self._start = folder / "kms.db", folder / "aside", folder / "start.db"
        self._read_only = False
        engine = build_engine(f"sqlite:///{self._path}", existing=True)
        self._engine = self._watch_commits(engine, lambda: sqlite3.OperationalError("disk I/O error"))
        event.listen(self._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        event.listen(self._engine, "checkout", self._prepare)

    def open_store(self) -> SqlStore:
        return SqlStore(self._engine)

    def keep(self) -> None:
        self._engine.dispose()
        shutil.copyfile(self._path, self._start)

    def renew(self) -> None:
        self.give_back()
        self.next_commit = None
        self._engine.dispose()
        for path in self._path.parent.glob("kms.db*"):
            path.unlink()
        shutil.copyfile(self._start, self._path)

    def take_away(self) -> None:
        self._engine.dispose()  # as when its file system goes: no process keeps it open
        if self._path.exists():
            self._path.rename(self._aside)

    def forbid_writing(self) -> None:
        self._read_only = True

    def give_back(self) -> None:
        self._read_only = False
        if self._aside.exists():
            self._aside.rename(self._path)

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self, connection: object, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA query_only = {int(self._read_only)}")  # type: ignore[attr-defined] # sqlite3's


class PostgresRun(_Breakable):
    """A database of the throw-away PostgreSQL."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster: Cluster = get_cluster()
        self._template = self._name = self._cluster.create_database(TEMPLATE)
        self._open()

    def open_store(self) -> SqlStore:
        return SqlStore(self._engine)

    def keep(self) -> None:
        self._engine.dispose()

    def renew(self) -> None:
        self.next_commit = None
        self._engine.dispose()
        if self._name != self._template:
            self._cluster.drop_database(self._name)
        self._name = self._cluster.create_database(self._template)
        self._open()

    def take_away(self) -> None:
        self._alter("ALLOW_CONNECTIONS false")
        self._end_sessions()

    def forbid_writing(self) -> None:
        self._alter("SET default_transaction_read_only = on")
        self._end_sessions()

    def give_back(self) -> None:
        self._alter("ALLOW_CONNECTIONS true")
        self._alter("RESET default_transaction_read_only")
        self._end_sessions()

    def close(self) -> None:
        self._engine.dispose()

    def _open(self) -> None:
        engine = build_engine(self._cluster.build_url(self._name), existing=True)
        self._engine = self._watch_commits(engine, lambda: psycopg.OperationalError("the connection is lost"))

    def _alter(self, what: str) -> None:
        statement = sql.SQL("ALTER DATABASE {} " + what).format(sql.Identifier(self._name))
        self._cluster.execute(statement)

    def _end_sessions(self) -> None:
        statement = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
        self._cluster.execute(statement.format(sql.Literal(self._name)))


@cache
def get_folder() -> Path:
    """Where runs keep their files: memory where there is such a folder, since they fsync as the real ones do."""
    memory = Path("/dev/shm")  # noqa: S108 - the folders made in it are nobody else's
    return memory if memory.is_dir() else Path(gettempdir())
