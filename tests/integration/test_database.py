"""A database under several processes at once."""

import multiprocessing
from pathlib import Path

import pytest

from kms.db.store import open_store
from kms.errors import Code, KmsError
from tests.fakes.records import build_audit_event, build_card
from tests.fakes.stores import DATABASES, open_database

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
