import pytest

from kms.domain.terminal_limits import (
    NO_LIMITS,
    CardSpan,
    TerminalLimits,
    build_span,
    check_card_allowed,
    check_domain_allowed,
)
from kms.errors import Code, KmsError

LIMITS = TerminalLimits((CardSpan(b"\x10\x00", b"\x1f\xff"), CardSpan(b"\x30", b"\x30")), (b"\xa0" * 5,))


@pytest.mark.parametrize(
    ("identity", "allowed"),
    [
        (b"\x10\x00", True),
        (b"\x1f\xff", True),
        (b"\x30", True),
        (b"\x0f\xff", False),
        (b"\x20\x00", False),
        (b"\x10", False),
        (b"\x10\x00\x00", False),
    ],
)
def test_cards_inside_the_ranges_of_their_length_are_allowed(identity: bytes, allowed: bool) -> None:
    assert LIMITS.allows_card(identity) is allowed
    assert NO_LIMITS.allows_card(identity)


def test_what_is_not_allowed_is_refused_by_name() -> None:
    check_card_allowed(LIMITS, b"\x30")
    check_domain_allowed(LIMITS, b"\xa0" * 5)
    for check, value in ((check_card_allowed, b"\x31"), (check_domain_allowed, b"\xa0" * 6)):
        with pytest.raises(KmsError) as error:
            check(LIMITS, value)
        assert error.value.code is Code.TERMINAL_NOT_ALLOWED


@pytest.mark.parametrize(("first", "last"), [(b"", b""), (b"\x02", b"\x01"), (b"\x01", b"\x01\x02"), (bytes(33),) * 2])
def test_what_is_no_range_is_refused(first: bytes, last: bytes) -> None:
    with pytest.raises(KmsError) as error:
        build_span(first, last)
    assert error.value.code is Code.INPUT_INVALID


def test_a_range_may_be_one_card() -> None:
    assert b"\x01" in build_span(b"\x01", b"\x01")
