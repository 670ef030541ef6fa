"""SELECT by AID."""

import pytest

from terminal.virtual_card import VirtualCard
from tests.unit.terminal.virtual_card.host import ISD_AID, SSD_AID, Host, apdu, sw_of

FCI = "6F108408A000000151000000A5049F6501FF9000"


@pytest.mark.parametrize("name", ["", "A000000151000000", "A000000151", "A0"])
def test_the_isd_by_whole_partial_and_empty_name(card: VirtualCard, name: str) -> None:
    assert card.transmit(apdu(0, 0xA4, 4, 0, bytes.fromhex(name))).hex().upper() == FCI


@pytest.mark.parametrize("p2", [0x00, 0x04])
def test_hosts_that_ask_for_fcp_get_the_fci(card: VirtualCard, p2: int) -> None:
    assert card.transmit(apdu(0, 0xA4, 4, p2, ISD_AID)).hex().upper() == FCI


def test_no_answer_when_none_is_wanted(card: VirtualCard) -> None:
    assert card.transmit(apdu(0, 0xA4, 4, 0x0C, ISD_AID)).hex() == "9000"


def test_an_unknown_name_is_6a82_and_changes_nothing(card: VirtualCard, host: Host) -> None:
    assert sw_of(card.transmit(apdu(0, 0xA4, 4, 0, b"\xa0\x00\x00\x01\x02"))) == "6A82"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"


def test_the_next_occurrence(host: Host) -> None:
    other = SSD_AID[:-1] + b"\x77"
    assert host.install_ssd() == "9000"
    assert host.install_ssd(other) == "9000"
    card = host.card
    assert SSD_AID in card.transmit(apdu(0, 0xA4, 4, 0, SSD_AID[:5]))
    assert other in card.transmit(apdu(0, 0xA4, 4, 2, SSD_AID[:5]))
    assert sw_of(card.transmit(apdu(0, 0xA4, 4, 2, SSD_AID[:5]))) == "6A82"


def test_a_whole_name_wins_over_a_partial_one(host: Host) -> None:
    short = SSD_AID[:6]
    assert host.install_ssd() == "9000"
    assert host.install_ssd(short) == "9000"
    assert host.card.transmit(apdu(0, 0xA4, 4, 0, short)).hex().startswith("6f0e8406" + short.hex())


def test_selecting_ends_the_session(card: VirtualCard, host: Host) -> None:
    assert host.select(ISD_AID) == "9000"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"
    assert sw_of(card.transmit(apdu(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00"))) == "6982"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00A4040100", "6A86"),
        ("00A4080000", "6A86"),
        ("80A4040000", "6E00"),
        ("04A4040000", "6E00"),
        ("00A4040011" + 17 * "A0", "6700"),
    ],
)
def test_malformed_commands(card: VirtualCard, command: str, sw: str) -> None:
    assert sw_of(card.transmit(bytes.fromhex(command))) == sw
