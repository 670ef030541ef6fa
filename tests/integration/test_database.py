"""A database under several processes at once."""

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import event

from kms.db.engine import build_engine
from kms.db.store import SqlStore, open_store
from kms.errors import Code, KmsError
from tests.fakes.records import build_audit_event, build_card
from tests.fakes.stores import DATABASES, build_database, open_database

WORKERS = 3
ROUNDS = 10


def count_up(url: str, worker: int) -> None:
    """Read, claim and record, as often as it takes: what every step of a visit does."""
    store = open_store(url)
    for step in range(ROUNDS):
        while True:
            with store.reading() as reading:
                card = reading.cards.get(build_card().id)
            try:
                with store.transaction() as transaction:
                    transaction.cards.claim(card)
                    transaction.audit.append(build_audit_event(100 * worker + step))
                break
            except KmsError as error:
                if error.code is not Code.VISIT_CONFLICT:
                    raise
    store.dispose()


@pytest.mark.parametrize("kind", DATABASES)
def test_processes_lose_nothing_of_each_other(kind: str, tmp_path: Path) -> None:
    with open_database(kind, tmp_path) as url:
        store = open_store(url)
        with store.transaction() as transaction:
            transaction.cards.add(build_card())
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=count_up, args=(url, number)) for number in range(1, WORKERS + 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
        assert [worker.exitcode for worker in workers] == [0] * WORKERS
        with store.reading() as reading:
            assert reading.cards.get(build_card().id).version == WORKERS * ROUNDS
            assert len(reading.audit.list(limit=1000)) == WORKERS * ROUNDS
        store.dispose()


def write(store: SqlStore) -> None:
    with store.transaction() as tx:
        tx.audit.append(build_audit_event())


def test_a_file_that_takes_no_changes_is_a_database_that_is_away(tmp_path: Path) -> None:
    engine = build_engine(build_database(tmp_path))
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA query_only = ON"))
    store = SqlStore(engine)
    with store.reading() as tx:
        assert tx.cards.list() == []
    with pytest.raises(KmsError, match="may not be written") as refused:
        write(store)
    assert refused.value.code is Code.DATABASE_UNAVAILABLE
    store.dispose()


def test_a_file_that_another_holds_for_too_long_is_a_database_that_is_away(tmp_path: Path) -> None:
    url = build_database(tmp_path)
    engine = build_engine(url)
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA busy_timeout = 1"))
    store, other = SqlStore(engine), SqlStore(build_engine(url))
    with other.transaction(), pytest.raises(KmsError, match="locked by a long transaction") as refused:
        write(store)
    assert refused.value.code is Code.DATABASE_UNAVAILABLE
    store.dispose()
    other.dispose()
