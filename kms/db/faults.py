"""Database exceptions to our error codes, in one place.

Rules: no text of the driver is passed on: PostgreSQL's holds the values of the row.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kms.errors import Code, KmsError

UPGRADE_HINT = "Run `kms db upgrade`."


@contextmanager
def translate_faults(noun: str) -> Iterator[None]:
    """Raise `input.conflict`, `database.schema` or `database.unavailable` for what the driver raised in the block."""
    try:
        yield
    except IntegrityError as error:
        raise KmsError(Code.CONFLICT, f"The {noun} was not stored: {_describe_conflict(error)}.") from error
    except (OperationalError, ProgrammingError) as error:
        if _is_schema_fault(error):
            raise KmsError(Code.DATABASE_SCHEMA, f"The database lacks a table or column. {UPGRADE_HINT}") from error
        raise _build_unavailable(error) from error
    except (InterfaceError, InternalError, PoolTimeoutError, DatabaseError) as error:
        raise _build_unavailable(error) from error


def _describe_conflict(error: IntegrityError) -> str:
    text = str(error.orig).lower()
    if "foreign key" in text:
        return "it refers to something that does not exist"
    if "unique" in text:
        return "one with the same unique value exists"
    if "append-only" in text:
        return "this table is append-only"
    return "a rule of the database refuses it"


def _is_schema_fault(error: OperationalError | ProgrammingError) -> bool:
    # SQLite: "no such table: x", "no such column"; PostgreSQL: SQLSTATE 42P01 undefined_table, 42703 undefined_column.
    text = str(error.orig)
    return (
        "no such table" in text
        or "no such column" in text
        or getattr(error.orig, "sqlstate", "")
        in {
            "42P01",
            "42703",
        }
    )


def _build_unavailable(error: Exception) -> KmsError:
    busy = "database is locked" in str(error)
    cause = "it is locked by a long transaction; try again" if busy else "check that it runs, its address and its disk"
    return KmsError(Code.DATABASE_UNAVAILABLE, f"The database does not answer: {cause}.")
