from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from kms.domain.pending import PendingCard, PendingItem
from kms.domain.updates import UpdateReason


def test_what_waits_for_a_card_is_a_value() -> None:
    item = PendingItem(bytes.fromhex("A0000009510001"), UpdateReason.FORCED, datetime(2026, 3, 1, tzinfo=UTC))
    assert PendingCard(b"\x47", (item,)) == PendingCard(b"\x47", (item,))
    with pytest.raises(FrozenInstanceError):
        item.aid = b""  # type: ignore[misc] # that it cannot be done is what is shown
