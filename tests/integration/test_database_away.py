"""A PostgreSQL server that stops, hangs and comes back, as a worker's watch sees it: a server of the test's own."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from kms.db.migration import upgrade
from kms.db.store import SqlStore
from kms.errors import Code, KmsError
from tests.fakes.postgres import Cluster
from tests.fakes.stores import closing_store

RED_S = 5.0
GREEN_S = 10.0
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.execute("CREATE ROLE kms LOGIN")
    yield cluster
    cluster.remove()


@pytest.fixture
def store(cluster: Cluster) -> Iterator[SqlStore]:
    url = cluster.build_url(cluster.create_database())
    upgrade(url)
    with closing_store(url) as store:
        store.watch()
        measure(store, None)
        yield store


def find_code(store: SqlStore) -> Code | None:
    try:
        store.check()
    except KmsError as error:
        return error.code
    return None


def measure(store: SqlStore, code: Code | None) -> float:
    """Seconds until the store is found so."""
    begun = time.monotonic()
    while find_code(store) is not code:
        assert time.monotonic() - begun < PATIENCE_S, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - begun


def test_a_server_that_stops_is_away_and_found_again(cluster: Cluster, store: SqlStore) -> None:
    cluster.stop()
    try:
        assert measure(store, Code.DATABASE_UNAVAILABLE) <= RED_S
    finally:
        cluster.start()
    assert measure(store, None) <= GREEN_S


def test_a_server_that_hangs_is_away_and_checking_does_not_wait(cluster: Cluster, store: SqlStore) -> None:
    # The sessions' processes and the one that begins new ones.
    found = cluster.execute("SELECT pid FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()")
    first = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    processes = [first, *(int(str(pid)) for (pid,) in found)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert measure(store, Code.DATABASE_UNAVAILABLE) <= RED_S
        begun = time.monotonic()
        find_code(store)
        assert time.monotonic() - begun < 1
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    assert measure(store, None) <= GREEN_S
