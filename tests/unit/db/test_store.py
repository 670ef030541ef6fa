import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import StatementError

from kms.db.store import SqlStore, open_store
from kms.errors import Code, KmsError
from tests.fakes.records import (
    NOW,
    build_audit_event,
    build_card,
    build_domain,
    build_key_set,
    build_master,
    build_terminal,
    build_visit,
    build_visit_event,
)
from tests.fakes.stores import build_database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(build_database(tmp_path))
    yield store
    store.dispose()


def check_schema_refused(store: SqlStore, word: str) -> None:
    with pytest.raises(KmsError) as error:
        store.check()
    assert error.value.code is Code.DATABASE_SCHEMA
    assert word in error.value.detail
    assert "kms db upgrade" in error.value.detail


def test_an_empty_database_is_told_apart_from_a_wrong_one(tmp_path: Path, store: SqlStore) -> None:
    (tmp_path / "empty.db").touch()
    empty = open_store(f"sqlite:///{tmp_path / 'empty.db'}")
    assert empty.find_revision() is None
    check_schema_refused(empty, "empty")
    empty.dispose()
    connection = sqlite3.connect(tmp_path / "kms.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    check_schema_refused(store, "9999")


def test_a_file_that_is_moved_away_is_a_database_that_is_away_and_comes_back(tmp_path: Path, store: SqlStore) -> None:
    store.check()
    (tmp_path / "kms.db").rename(tmp_path / "aside.db")
    for _ in range(2):
        with pytest.raises(KmsError) as error:
            store.check()
        assert error.value.code is Code.DATABASE_UNAVAILABLE
    assert not (tmp_path / "kms.db").exists()
    (tmp_path / "aside.db").rename(tmp_path / "kms.db")
    store.check()


def test_a_watched_store_tells_what_was_found_lately(tmp_path: Path, store: SqlStore) -> None:
    store.watch()
    give_up = time.monotonic() + 30
    while not is_up(store):
        assert time.monotonic() < give_up
    (tmp_path / "kms.db").rename(tmp_path / "aside.db")
    while is_up(store):
        assert time.monotonic() < give_up


def is_up(store: SqlStore) -> bool:
    try:
        store.check()
    except KmsError:
        return False
    return True


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'nowhere' / 'kms.db'}")
    with pytest.raises(KmsError) as error:
        store.check()
    assert error.value.code is Code.DATABASE_UNAVAILABLE
    with pytest.raises(KmsError) as error, store.transaction():
        pass
    assert error.value.code is Code.DATABASE_UNAVAILABLE


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "kms.db").write_bytes(b"this is no database" * 100)
    store = open_store(f"sqlite:///{tmp_path / 'kms.db'}")
    with pytest.raises(KmsError) as error:
        store.check()
    assert error.value.code is Code.DATABASE_UNAVAILABLE
    store.dispose()


def test_rows_may_be_written_in_any_order_but_must_not_refer_to_nothing(store: SqlStore) -> None:
    with store.transaction() as transaction:
        transaction.security_domains.add(build_domain())
        transaction.cards.add(build_card())
    with pytest.raises(KmsError) as error, store.transaction() as transaction:
        transaction.key_sets.add(build_key_set())  # its master is missing
    assert error.value.code is Code.CONFLICT
    with store.reading() as reading:
        assert not reading.key_sets.list()


@pytest.mark.parametrize(
    "write",
    [
        lambda transaction: transaction.cards.add(build_card(2, identity=b"")),
        lambda transaction: transaction.cards.add(build_card(2, kdd=bytes(9))),
        lambda transaction: transaction.cards.add(build_card(2, scp02_i=256)),
        lambda transaction: transaction.security_domains.add(build_domain(9, aid=b"\xa0")),
        lambda transaction: transaction.key_sets.add(build_key_set(9, kvn=0x80)),
        lambda transaction: transaction.terminals.add(build_terminal(9, fingerprint=bytes(20))),
        lambda transaction: transaction.master_keys.add(build_master(9, generation=0)),
    ],
    ids=["identity", "kdd", "scp", "aid", "kvn", "fingerprint", "generation"],
)
def test_the_database_itself_refuses_what_breaks_a_rule(store: SqlStore, write: object) -> None:
    with pytest.raises(KmsError) as error, store.transaction() as transaction:
        write(transaction)  # type: ignore[operator] # parametrize hands objects
    assert error.value.code is Code.CONFLICT


def test_a_time_without_zone_is_refused(store: SqlStore) -> None:
    with pytest.raises(StatementError, match="time zone"), store.transaction() as transaction:
        transaction.cards.add(build_card(2, enrolled_at=NOW.replace(tzinfo=None)))


@pytest.mark.parametrize("table", ["audit_events", "visit_events"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at = at", "DELETE FROM {}"])
def test_what_was_recorded_can_be_neither_changed_nor_removed(
    tmp_path: Path, store: SqlStore, table: str, statement: str
) -> None:
    with store.transaction() as transaction:
        transaction.audit.append(build_audit_event())
        transaction.cards.add(build_card())
        transaction.terminals.add(build_terminal())
        transaction.visits.add(build_visit())
        transaction.visits.add_event(build_visit_event())
    connection = sqlite3.connect(tmp_path / "kms.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement.format(table))
    connection.close()


def test_reading_cannot_take_the_write_lock_from_a_writer(store: SqlStore) -> None:
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        with store.reading() as reading:
            assert not reading.cards.list()
    with store.reading() as reading:
        assert reading.cards.list() == [build_card()]
