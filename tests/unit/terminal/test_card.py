"""A card that is not here."""

import pytest

from terminal.card import AbsentCard
from terminal.errors import TerminalCode, TerminalError


def test_an_absent_card_is_gone() -> None:
    for act in (lambda: AbsentCard().transmit(b"1234"), AbsentCard().reset):
        with pytest.raises(TerminalError) as caught:
            act()
        assert caught.value.code is TerminalCode.CARD_GONE
