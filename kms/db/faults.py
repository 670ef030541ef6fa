"""Database exceptions to our error codes, in one place.

Rules: no text of the driver is passed on: PostgreSQL's holds the values of the row. SQLite tells faults apart by its
English texts, PostgreSQL by SQLSTATE (appendix A of its manual; its texts follow the server's language).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from kms.errors import Code, KmsError

UPGRADE_HINT = "Run `kms db upgrade`."

# 40001 serialization_failure (REPEATABLE READ: the row changed since this transaction began), 40P01 deadlock_detected
OVERTAKEN = {"40001", "40P01"}

# One open update of a security domain at a time: who asked second looked before the first was there. PostgreSQL names
# the index, SQLite the column.
OPEN_UPDATE = ("uq_key_updates_open", "key_updates.security_domain_id")

_NO_SUCH_ROW = "it refers to something that does not exist"
_NOT_UNIQUE = "one with the same unique value exists"
_APPEND_ONLY = "this table is append-only"
_OTHER_RULE = "a rule of the database refuses it"
CONFLICTS = {
    "foreign key": _NO_SUCH_ROW,
    "unique": _NOT_UNIQUE,
    "append-only": _APPEND_ONLY,
    "23503": _NO_SUCH_ROW,  # foreign_key_violation
    "23505": _NOT_UNIQUE,  # unique_violation
    "23001": _APPEND_ONLY,  # restrict_violation: raised by the migrations' triggers alone; no key of ours restricts
}

_LACKING = "The database lacks a table or column."
_FOREIGN = "The database holds tables that this program's migrations did not make; take one of its own."
SCHEMA_FAULTS = {
    "no such table": _LACKING,
    "no such column": _LACKING,
    "already exists": _FOREIGN,
    "42P01": _LACKING,  # undefined_table
    "42703": _LACKING,  # undefined_column
    "3F000": _LACKING,  # invalid_schema_name
    "42P07": _FOREIGN,  # duplicate_table, duplicate index too
}

_NO_FILE = "there is no such file: run `kms db upgrade`, or check the folder and its rights"
_LOCKED = "it is locked by a long transaction; try again"
_FORBIDDEN = "its user lacks a right; see the roles in docs/operations.md"
_STANDBY = "it takes no changes, as a standby does"
_FULL = "its disk is full; nothing was done: make room and try again"
_READ_ONLY = "its file may not be written; nothing was done: look at its rights and its file system"
CAUSES = {
    "database is locked": _LOCKED,
    "unable to open database file": _NO_FILE,
    "database or disk is full": _FULL,
    "attempt to write a readonly database": _READ_ONLY,
    "55P03": _LOCKED,  # lock_not_available: lock_timeout
    "53100": _FULL,  # disk_full
    "57014": _LOCKED,  # query_canceled: statement_timeout
    "42501": _FORBIDDEN,  # insufficient_privilege
    "25006": _STANDBY,  # read_only_sql_transaction
}


@contextmanager
def translate_faults(noun: str) -> Iterator[None]:
    """Raise one of our errors for what the driver raised in the block.

    `input.conflict`: a unique value is taken, or another rule of the database refuses the row. `input.invalid`: a value
    does not fit its column. `visit.conflict`: another changed the row meanwhile; the whole transaction may be tried
    again. `database.schema`, `database.unavailable`.
    """
    try:
        yield
    except IntegrityError as error:
        if any(name in str(error.orig) for name in OPEN_UPDATE):
            raise _build_overtaken(noun) from error
        raise KmsError(
            Code.CONFLICT, f"The {noun} was not stored: {_find(CONFLICTS, error) or _OTHER_RULE}."
        ) from error
    except DataError as error:
        text = f"The {noun} was not stored: a text is too long or holds a NUL character, or a number is too large."
        raise KmsError(Code.INPUT_INVALID, text) from error
    except (DatabaseError, InterfaceError, PoolTimeoutError) as error:
        raise _translate_fault(error, noun) from error


def _translate_fault(error: Exception, noun: str) -> KmsError:
    if _get_sqlstate(error) in OVERTAKEN:
        return _build_overtaken(noun)
    if schema_fault := _find(SCHEMA_FAULTS, error):
        return KmsError(
            Code.DATABASE_SCHEMA, f"{schema_fault} {UPGRADE_HINT}" if schema_fault is _LACKING else schema_fault
        )
    cause = _find(CAUSES, error) or "check that it runs, its address, its user and its disk"
    return KmsError(Code.DATABASE_UNAVAILABLE, f"The database does not answer: {cause}.")


def _build_overtaken(noun: str) -> KmsError:
    return KmsError(Code.VISIT_CONFLICT, f"Another request has changed the {noun} meanwhile; try again.")


def _find(texts: dict[str, str], error: Exception) -> str | None:
    """What is said about an error, by its SQLSTATE or, where the driver gives none, by the driver's text."""
    if sqlstate := _get_sqlstate(error):
        return texts.get(sqlstate)
    driver_text = str(error.orig).lower() if isinstance(error, DBAPIError) else ""
    return next((text for word, text in texts.items() if word in driver_text), None)


def _get_sqlstate(error: Exception) -> str:
    return getattr(error.orig, "sqlstate", None) or "" if isinstance(error, DBAPIError) else ""
