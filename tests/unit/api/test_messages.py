from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from kms.api.messages import Message, build_hex, build_time


class _Example(Message):
    card_identity: str


def test_fields_are_written_in_camel_case_and_others_refused() -> None:
    assert _Example(card_identity="47").model_dump(by_alias=True) == {"cardIdentity": "47"}
    with pytest.raises(ValidationError):
        _Example.model_validate({"cardIdentity": "47", "colour": "blue"})


def test_times_are_utc_to_the_second() -> None:
    at = datetime(2026, 3, 1, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    assert build_time(at) == "2026-03-01T12:00:00Z"


def test_bytes_are_upper_case_hex() -> None:
    assert build_hex(b"\x00\xab") == "00AB"
