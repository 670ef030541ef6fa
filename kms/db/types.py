"""Column types that give back exactly the values of `kms.domain`.

Rules: a time is stored in UTC and read with its time zone, on every dialect; a value without one is refused. Enums are
stored as their text, with a CHECK, so that a row is readable and a typing error in SQL is refused.
"""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Enum, LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from kms.card.keys import KeyType
from kms.domain.campaigns import CampaignFilter
from kms.domain.cards import DomainKind
from kms.domain.people import Role
from kms.domain.policies import Policy
from kms.domain.policy_text import build_policy_text, parse_policy_text
from kms.domain.terminal_limits import CardSpan, TerminalLimits

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


class FilterText(TypeDecorator[CampaignFilter]):
    """A campaign's filter as JSON: bytes as hex, times as ISO 8601, conditions that are not given left out."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: CampaignFilter | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Dump."""
        if value is None:
            return None
        given = {name: item for name, item in vars(value).items() if item not in (None, ())}
        return json.dumps(given, default=_to_text, sort_keys=True)

    def process_result_value(self, value: str | None, dialect: Dialect) -> CampaignFilter | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Load."""
        if value is None:
            return None
        given = json.loads(value)
        for name in ("first_identity", "last_identity", "aid_prefix"):
            if name in given:
                given[name] = bytes.fromhex(given[name])
        given["no_route"] = tuple(given.get("no_route", ()))
        given["identities"] = tuple(bytes.fromhex(item) for item in given.get("identities", ()))
        if "expired_by" in given:
            given["expired_by"] = datetime.fromisoformat(given["expired_by"])
        if "kind" in given:
            given["kind"] = DomainKind(given["kind"])
        if "key_type" in given:
            given["key_type"] = KeyType(given["key_type"])
        return CampaignFilter(**given)


def _to_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a filter holds no {type(value).__name__}")


class PolicyText(TypeDecorator[Policy]):
    """A policy as text (`kms.domain.policy_text`)."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Policy | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write."""
        return None if value is None else build_policy_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Policy | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read."""
        return None if value is None else parse_policy_text(value)


class RolesText(TypeDecorator[frozenset[Role]]):
    """A person's roles, sorted, with commas between them."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: frozenset[Role] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write."""
        return None if value is None else ",".join(sorted(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> frozenset[Role] | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read."""
        return None if value is None else frozenset(Role(role) for role in value.split(","))


class LimitsText(TypeDecorator[TerminalLimits]):
    """A terminal's limits as JSON text: ranges and AIDs in hexadecimal."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: TerminalLimits | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Write."""
        if value is None:
            return None
        cards = [[span.first.hex(), span.last.hex()] for span in value.cards]
        return json.dumps({"cards": cards, "aids": [aid.hex() for aid in value.aids]}, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> TerminalLimits | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Read."""
        if value is None:
            return None
        stored = json.loads(value)
        spans = tuple(CardSpan(bytes.fromhex(first), bytes.fromhex(last)) for first, last in stored["cards"])
        return TerminalLimits(spans, tuple(bytes.fromhex(aid) for aid in stored["aids"]))


def enum_type(enum: type[StrEnum], name: str) -> Enum:
    """Make the column type of an enum: its values as text, with the CHECK `ck_<table>_<name>`."""

    def list_values(members: Any) -> list[str]:  # noqa: ANN401 - SQLAlchemy hands the enum class untyped
        return [member.value for member in members]

    return Enum(enum, name=name, native_enum=False, create_constraint=True, values_callable=list_values, length=32)
