"""The card's memory as text. The file itself is tested where tests may touch the disk."""

import pytest

from terminal.virtual_card import VirtualCard
from terminal.virtual_card.state_file import StateFileError, dump_state, parse_state
from tests.unit.terminal.virtual_card.host import NEW_KEYS, SSD_AID, Host


def test_nothing_is_lost(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.level == 0x03
    restored = parse_state(dump_state(card.state))
    assert restored == card.state
    Host(VirtualCard(restored), NEW_KEYS).open(0x03, aid=SSD_AID)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "domains": [{}]}', '{"format": 1, "domains": 3}', "\x00"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(StateFileError):
        parse_state(text)


def test_a_state_without_a_domain_is_refused(card: VirtualCard) -> None:
    text = dump_state(card.state)
    start = text.index('"domains"')
    with pytest.raises(StateFileError, match="no security domain"):
        parse_state(text[:start] + '"domains": []}')
