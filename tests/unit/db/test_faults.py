import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError
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
