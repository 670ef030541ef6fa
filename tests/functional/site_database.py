"""The database of a site, of either kind: made for it, looked into behind the server's back, and held against it.

Rules: `KMS_TEST_DATABASE` says which kind the site of all functional tests uses (`sqlite`, the default, `postgresql`).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg

from tests.fakes.postgres import TEMPLATE, Cluster, get_cluster
from tests.fakes.stores import DATABASES

VARIABLE = "KMS_TEST_DATABASE"
Rows = list[tuple[object, ...]]


class SiteDatabase(Protocol):
    """What the tests do with a platform's database. `url`: as its configuration names it."""

    @property
    def url(self) -> str: ...

    def execute(self, statement: str) -> Rows:
        """Read rows by a statement that either kind understands."""

    def hold(self) -> AbstractContextManager[None]:
        """Let nobody else commit a change during the block; reading goes on."""

    def read_files(self) -> Iterator[tuple[str, bytes]]:
        """The files in which the database keeps what it was told."""


@dataclass(frozen=True)
class SqliteDatabase:
    """A file; the platform's first migration makes it."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def execute(self, statement: str) -> Rows:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(statement).fetchall()

    @contextmanager
    def hold(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def read_files(self) -> Iterator[tuple[str, bytes]]:
        for path in self.path.parent.glob(f"{self.path.name}*"):
            yield path.name, path.read_bytes()


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of the test run's cluster, whose owner is no superuser."""

    cluster: Cluster
    name: str

    @property
    def url(self) -> str:
        return self.cluster.build_url(self.name)

    def execute(self, statement: str) -> Rows:
        return self.cluster.execute(statement, self.name)

    @contextmanager
    def hold(self) -> Iterator[None]:
        tables = ", ".join(name for name in list_tables(self) if name != "alembic_version")
        with psycopg.connect(self.url) as connection:
            connection.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            try:
                yield
            finally:
                connection.rollback()

    def read_files(self) -> Iterator[tuple[str, bytes]]:
        self.cluster.execute("CHECKPOINT")
        ((oid,),) = self.cluster.execute(f"SELECT oid FROM pg_database WHERE datname = '{self.name}'")  # noqa: S608 - a name of the test's
        data = self.cluster.folder / "data"
        for path in sorted((*(data / "base" / str(oid)).iterdir(), *(data / "pg_wal").iterdir())):
            if path.is_file():
                yield str(path.relative_to(data)), path.read_bytes()


def make_database(folder: Path, platform: str, kind: str | None = None) -> SiteDatabase:
    """A database for a platform whose files are in `folder`. `kind`: of `DATABASES`, else what the environment says."""
    kind = kind or os.environ.get(VARIABLE, DATABASES[0])
    if kind not in DATABASES:
        raise ValueError(f"{VARIABLE} is {kind!r}: it must be one of {', '.join(DATABASES)}")
    if kind == "sqlite":
        return SqliteDatabase(folder / platform / "kms.db")
    cluster = get_cluster()
    return PostgresDatabase(cluster, cluster.create_database(TEMPLATE))


def list_tables(database: SiteDatabase) -> list[str]:
    """The names of all tables."""
    if isinstance(database, SqliteDatabase):
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        rows = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return [str(name) for (name,) in rows]
