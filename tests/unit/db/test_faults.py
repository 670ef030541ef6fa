import sqlite3

import pytest
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kms.db.faults import translate_faults
from kms.errors import Code, KmsError


class PostgresError(Exception):
    def __init__(self, text: str, sqlstate: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (
            IntegrityError("", {}, sqlite3.IntegrityError("UNIQUE constraint failed: cards.identity")),
            Code.CONFLICT,
            "unique",
        ),
        (IntegrityError("", {}, sqlite3.IntegrityError("FOREIGN KEY constraint failed")), Code.CONFLICT, "refers"),
        (IntegrityError("", {}, sqlite3.IntegrityError("audit_events is append-only")), Code.CONFLICT, "append-only"),
        (IntegrityError("", {}, sqlite3.IntegrityError("CHECK constraint failed: kvn")), Code.CONFLICT, "rule"),
        (
            OperationalError("", {}, sqlite3.OperationalError("no such table: cards")),
            Code.DATABASE_SCHEMA,
            "kms db upgrade",
        ),
        (ProgrammingError("", {}, PostgresError("relation", "42P01")), Code.DATABASE_SCHEMA, "kms db upgrade"),
        (ProgrammingError("", {}, PostgresError("syntax", "42601")), Code.DATABASE_UNAVAILABLE, "does not answer"),
        (OperationalError("", {}, sqlite3.OperationalError("database is locked")), Code.DATABASE_UNAVAILABLE, "locked"),
        (OperationalError("", {}, sqlite3.OperationalError("disk I/O error")), Code.DATABASE_UNAVAILABLE, "disk"),
        (IntegrityError("", {}, PostgresError("doppelter Wert", "23505")), Code.CONFLICT, "unique"),
        (IntegrityError("", {}, PostgresError("kein Verweis", "23503")), Code.CONFLICT, "refers"),
        (IntegrityError("", {}, PostgresError("audit_events is append-only", "23001")), Code.CONFLICT, "append-only"),
        (IntegrityError("", {}, PostgresError("a check on unique_x", "23514")), Code.CONFLICT, "rule"),
        (DataError("", {}, PostgresError("too long", "22001")), Code.INPUT_INVALID, "too long"),
        (OperationalError("", {}, PostgresError("serialize", "40001")), Code.VISIT_CONFLICT, "try again"),
        (OperationalError("", {}, PostgresError("deadlock", "40P01")), Code.VISIT_CONFLICT, "try again"),
        (OperationalError("", {}, PostgresError("lock", "55P03")), Code.DATABASE_UNAVAILABLE, "locked"),
        (OperationalError("", {}, PostgresError("cancelled", "57014")), Code.DATABASE_UNAVAILABLE, "locked"),
        (ProgrammingError("", {}, PostgresError("denied", "42501")), Code.DATABASE_UNAVAILABLE, "lacks a right"),
        (OperationalError("", {}, PostgresError("full", "53100")), Code.DATABASE_UNAVAILABLE, "disk is full"),
        (InternalError("", {}, PostgresError("read only", "25006")), Code.DATABASE_UNAVAILABLE, "standby"),
        (ProgrammingError("", {}, PostgresError("exists", "42P07")), Code.DATABASE_SCHEMA, "did not make"),
        (InterfaceError("", {}, Exception("gone")), Code.DATABASE_UNAVAILABLE, "does not answer"),
        (PoolTimeoutError("no connection left"), Code.DATABASE_UNAVAILABLE, "does not answer"),
    ],
)
def test_a_drivers_error_becomes_ours(error: Exception, code: Code, word: str) -> None:
    with pytest.raises(KmsError) as found, translate_faults("card"):
        raise error
    assert found.value.code is code
    assert word in found.value.detail


def test_no_text_of_the_driver_is_passed_on() -> None:
    error = IntegrityError("INSERT", {"identity": "4292"}, Exception("duplicate key: (identity)=(4292) unique"))
    with pytest.raises(KmsError) as found, translate_faults("card"):
        raise error
    assert "4292" not in str(found.value)


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translate_faults("card"):
        raise KeyError("x")
    with pytest.raises(KmsError) as found, translate_faults("card"):
        raise KmsError(Code.NOT_FOUND, "x")
    assert found.value.code is Code.NOT_FOUND
