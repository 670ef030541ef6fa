"""The card's memory as text. The file itself is tested where tests may touch the disk."""

import json
from dataclasses import replace

import pytest

from terminal.virtual_card import VirtualCard
from terminal.virtual_card.state_file import StateFileError, dump_state, parse_state
from tests.unit.terminal.virtual_card.host import NEW_KEYS, SSD_AID, Host
from tests.unit.terminal.virtual_card.host03 import Host03, make_card, make_keys


def test_nothing_is_lost(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.level == 0x03
    restored = parse_state(dump_state(card.state))
    assert restored == card.state
    Host(VirtualCard(restored), NEW_KEYS).open(0x03, aid=SSD_AID)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 3}', '{"format": 1, "domains": [{}]}', '{"format": 1, "domains": 3}', "\x00"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(StateFileError):
        parse_state(text)


def test_a_state_without_a_domain_is_refused(card: VirtualCard) -> None:
    text = dump_state(card.state)
    start = text.index('"domains"')
    with pytest.raises(StateFileError, match="no security domain"):
        parse_state(text[:start] + '"domains": []}')


@pytest.mark.parametrize("scp02_i", [None, 0x55])
def test_a_card_of_scp03_is_kept(scp02_i: int | None) -> None:
    card = make_card(0x71, 32, scp02_i=scp02_i, sequence_counter=0x010203)
    restored = parse_state(dump_state(card.state))
    assert restored == card.state
    Host03(VirtualCard(restored), make_keys(32), 16).open(0x33)


def test_a_file_of_the_first_format_is_a_card_of_scp02(card: VirtualCard) -> None:
    tree = json.loads(dump_state(card.state))
    del tree["scp02_i"], tree["scp03_i"]
    tree |= {"format": 1, "scp_i": 0x15}
    assert parse_state(json.dumps(tree)) == replace(card.state, scp02_i=0x15, scp03_i=None)
