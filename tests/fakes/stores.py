"""Databases to test with, of either kind, made once by the migrations and copied for each test."""

import atexit
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from kms.db.migration import upgrade
from kms.db.store import SqlStore, open_store
from tests.fakes.postgres import get_cluster

DATABASES = ("sqlite", "postgresql")


@cache
def _build_template() -> Path:
    folder = Path(mkdtemp(prefix="kms-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


def build_database(folder: Path) -> str:
    """Make a SQLite database with the newest schema in `folder`; returns its URL."""
    path = folder / "kms.db"
    shutil.copyfile(_build_template(), path)
    return f"sqlite:///{path}"


@contextmanager
def open_database(kind: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
    """Make a database (`DATABASES`) with the newest schema, or none; gives its URL. It is gone after the block."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'kms.db'}" if empty else build_database(folder)
        return
    cluster = get_cluster()
    if not empty:
        with cluster.lend_database() as name:
            yield cluster.build_url(name)
        return
    name = cluster.create_database()
    try:
        yield cluster.build_url(name)
    finally:
        cluster.drop_database(name)


@contextmanager
def open_store_on(kind: str, folder: Path) -> Iterator[SqlStore]:
    """Open a store on a new database (`open_database`); its connections are closed however the test ends."""
    with open_database(kind, folder) as url, closing_store(url) as store:
        yield store


@contextmanager
def closing_store(url: str) -> Iterator[SqlStore]:
    """Open a store on a database and close its connections at the end."""
    store = open_store(url)
    try:
        yield store
    finally:
        store.dispose()
