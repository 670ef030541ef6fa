"""When power is lost."""

import pytest

from terminal.virtual_card.tear import Moment, Tear, parse_tear_at, parse_tear_during

PUT_KEY = bytes.fromhex("84D8008100")


@pytest.mark.parametrize(
    ("text", "tear"),
    [("3", Tear(at=3)), ("3:after", Tear(Moment.AFTER, at=3)), ("1:before", Tear(Moment.BEFORE, at=1))],
)
def test_at_a_number(text: str, tear: Tear) -> None:
    assert parse_tear_at(text) == tear
    assert [count for count in range(1, 6) if tear.is_due(count, PUT_KEY)] == [tear.at]


@pytest.mark.parametrize("text", ["PUT-KEY", "put-key:after", "PUT-KEY:before"])
def test_at_a_command(text: str) -> None:
    tear = parse_tear_during(text)
    assert tear.is_due(7, PUT_KEY)
    assert not tear.is_due(7, bytes.fromhex("80CA00D800"))
    assert not tear.is_due(7, b"")
    assert tear.moment is (Moment.BEFORE if "before" in text else Moment.AFTER)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "3:", "3:later", ":before"])
def test_no_such_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"give|after the colon"):
        parse_tear_at(text)


@pytest.mark.parametrize("text", ["", "GET-DATA", "PUT-KEY:", "PUT-KEY:between"])
def test_no_such_command(text: str) -> None:
    with pytest.raises(ValueError, match=r"one of|after the colon"):
        parse_tear_during(text)
