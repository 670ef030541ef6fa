from datetime import UTC, datetime

import pytest

from kms.domain.pending import (
    PendingCursor,
    PendingFilter,
    PendingItem,
    PendingRow,
    build_cursor,
    group_by_card,
    parse_cursor,
)
from kms.domain.terminal_limits import TerminalLimits
from kms.domain.updates import UpdateReason
from kms.errors import Code, KmsError

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
AID = bytes.fromhex("A000000001")
ITEM = PendingItem(AID, UpdateReason.EXPIRY, AT)


def test_a_cursor_is_read_back_as_it_was() -> None:
    cursor = PendingCursor(AT, "0" * 36)
    assert parse_cursor(build_cursor(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "!", "eA", build_cursor(PendingCursor(AT, "short")), "é"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(KmsError) as error:
        parse_cursor(text)
    assert error.value.code is Code.INPUT_INVALID


def test_the_updates_of_a_card_stand_together_in_the_order_of_its_first() -> None:
    rows = tuple(PendingRow(str(number), identity, ITEM) for number, identity in enumerate((b"b", b"a", b"b")))
    assert [(card.identity, len(card.items)) for card in group_by_card(rows)] == [(b"b", 2), (b"a", 1)]


@pytest.mark.parametrize(
    ("wanted", "accepted"),
    [
        (PendingFilter(), True),
        (PendingFilter(aid=AID, reason=UpdateReason.EXPIRY), True),
        (PendingFilter(aid=b"other"), False),
        (PendingFilter(reason=UpdateReason.FORCED), False),
        (PendingFilter(due_before=AT), False),
        (PendingFilter(limits=TerminalLimits(aids=(b"other",))), False),
    ],
)
def test_a_filter_takes_what_fits_whole(wanted: PendingFilter, accepted: bool) -> None:
    assert wanted.accepts(ITEM) is accepted


def test_a_filter_by_time_alone_is_told_by_the_index() -> None:
    assert not PendingFilter(due_before=AT).is_narrow
    assert PendingFilter(aid=AID).is_narrow
