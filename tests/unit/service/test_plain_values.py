from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

from kms.service.plain_values import build_record, to_plain


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Thing:
    name: str
    value: bytes
    secret: bytes = field(default=b"secret", repr=False)


def test_what_a_value_does_not_show_is_in_no_record() -> None:
    assert build_record(Thing("a", b"\x01"), more=2) == {"name": "a", "value": b"\x01", "more": 2}


def test_values_as_json_holds_them() -> None:
    moment = datetime(2026, 11, 23, 13, 0, 0, 500, tzinfo=timezone(timedelta(hours=1)))
    given = {
        "thing": Thing("a", b"\xab"),
        "many": (b"\x01", Colour.RED, None, True),
        "set": frozenset({"b", "a"}),
        "at": moment,
        7: datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert to_plain(given) == {
        "thing": {"name": "a", "value": "AB"},
        "many": ["01", "red", None, True],
        "set": ["a", "b"],
        "at": "2026-11-23T12:00:00Z",
        "7": "2026-01-01T00:00:00Z",
    }
