from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from kms.db.types import CheckValues, RolesText, UtcDateTime, enum_type
from kms.domain.keys import MasterKind
from kms.domain.people import Role

SQLITE = sqlite.dialect()
POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
TOKYO = datetime(2026, 11, 23, 21, 0, tzinfo=timezone(timedelta(hours=9)))
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_times_are_utc_on_both_dialects() -> None:
    column = UtcDateTime()
    assert column.process_bind_param(TOKYO, SQLITE) == NOON.replace(tzinfo=None)
    assert column.process_bind_param(TOKYO, POSTGRESQL) == NOON
    assert column.process_result_value(NOON.replace(tzinfo=None), SQLITE) == NOON
    read = column.process_result_value(TOKYO, POSTGRESQL)
    assert read is not None
    assert read.tzinfo is UTC
    assert column.process_bind_param(None, SQLITE) is None
    assert column.process_result_value(None, SQLITE) is None


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        UtcDateTime().process_bind_param(NOON.replace(tzinfo=None), SQLITE)


def test_check_values_are_joined_and_split() -> None:
    column, dialect = CheckValues(), SQLITE
    kcvs = (b"\x01\x02\x03", b"\x00\x00\x00")
    assert column.process_bind_param(kcvs, dialect) == b"\x01\x02\x03\x00\x00\x00"
    assert column.process_result_value(b"\x01\x02\x03\x00\x00\x00", dialect) == kcvs
    assert column.process_bind_param((), dialect) == b""
    assert column.process_result_value(b"", dialect) == ()
    assert column.process_bind_param(None, dialect) is None
    assert column.process_result_value(None, dialect) is None


def test_a_check_value_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        CheckValues().process_bind_param((b"\x01\x02",), SQLITE)


def test_enums_are_stored_as_their_values() -> None:
    assert enum_type(MasterKind, "kind").enums == [kind.value for kind in MasterKind]
    assert "ssd-initial" in enum_type(MasterKind, "kind").enums


def test_roles_are_stored_sorted_and_read_as_they_were() -> None:
    roles = frozenset({Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN})
    stored = RolesText().process_bind_param(roles, SQLITE)
    assert stored == "key-custodian,security-officer"
    assert RolesText().process_result_value(stored, SQLITE) == roles
    assert RolesText().process_bind_param(None, SQLITE) is None
    assert RolesText().process_result_value(None, SQLITE) is None
