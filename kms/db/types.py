"""Column types that give back exactly the values of `kms.domain`.

Rules: a time is stored in UTC and read with its time zone, on every dialect; a value without one is refused. Enums are
stored as their text, with a CHECK, so that a row is readable and a typing error in SQL is refused.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Enum, LargeBinary
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

KCV_LENGTH = 3


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamp with time zone`; on SQLite, which has none, the UTC time as text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        value = value.astimezone(UTC)
        # SQLite's text form has no offset; comparing and sorting as text works because all are UTC.
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time back in UTC, with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class CheckValues(TypeDecorator[tuple[bytes, ...]]):
    """Key check values of 3 bytes each (GP Card Specification 2.3.1 B.5, B.6), one after the other."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: tuple[bytes, ...] | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Join. Raises ValueError for a check value of another length."""
        if value is None:
            return None
        if any(len(kcv) != KCV_LENGTH for kcv in value):
            raise ValueError("a key check value has 3 bytes")
        return b"".join(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> tuple[bytes, ...] | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Split."""
        if value is None:
            return None
        return tuple(bytes(value[at : at + KCV_LENGTH]) for at in range(0, len(value), KCV_LENGTH))


def enum_type(enum: type[StrEnum], name: str) -> Enum:
    """Make the column type of an enum: its values as text, with the CHECK `ck_<table>_<name>`."""

    def list_values(members: Any) -> list[str]:  # noqa: ANN401 - SQLAlchemy hands the enum class untyped
        return [member.value for member in members]

    return Enum(enum, name=name, native_enum=False, create_constraint=True, values_callable=list_values, length=32)
