"""GET DATA: what anyone may read."""

import pytest

from terminal.virtual_card import VirtualCard
from tests.unit.terminal.virtual_card.host import SSD_AID, Host, apdu, sw_of
from tests.unit.terminal.virtual_card.host03 import make_card

IDENTITY = {
    0x0042: "42054999999999",
    0x0045: "450A00010203040506070809",
    0x00CF: "CF0A00010203040506070809",
    0x00C1: "C1020000",
    0x00E0: "E012C00401018010C00402018010C00403018010",
    0x0066: "6631732F06072A864886FC6B01600C060A2A864886FC6B02020201630906072A864886FC6B03640B06092A864886FC6B040255",
    0x9F7F: "9F7F2A479051684791234501002345000102030405481223454813234548142345000000014815234500000002",
}


@pytest.mark.parametrize("cla", [0x00, 0x80])
@pytest.mark.parametrize(("tag", "value"), IDENTITY.items())
def test_objects_of_the_isd(card: VirtualCard, cla: int, tag: int, value: str) -> None:
    assert card.transmit(apdu(cla, 0xCA, tag >> 8, tag & 0xFF)).hex().upper() == value + "9000"


@pytest.mark.parametrize("tag", [0x0000, 0x0067, 0xFF21, 0x2F00, 0x009F])
def test_other_objects_are_6a88(card: VirtualCard, tag: int) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xCA, tag >> 8, tag & 0xFF))) == "6A88"


def test_both_secured_classes_are_served_in_a_session(card: VirtualCard, host: Host) -> None:
    assert host.sw(0xCA, 0x00, 0xE0) == "9000"
    assert sw_of(card.transmit(bytes.fromhex("04CA00E008") + bytes(8))) == "6982"


def test_a_keyless_domain_has_no_key_information_and_its_parents_counter(card: VirtualCard, host: Host) -> None:
    host.install_ssd()
    assert Host(card).select(SSD_AID) == "9000"
    assert sw_of(card.transmit(bytes.fromhex("80CA00E000"))) == "6A88"
    assert card.transmit(bytes.fromhex("80CA00C100")).hex() == "c10200019000"
    assert sw_of(card.transmit(bytes.fromhex("80CA004200"))) == "6A88"


def test_a_domain_tells_of_its_own_keys(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.send(0xCA, 0x00, 0xE0)[0].hex().upper() == "E012C00401208010C00402208010C00403208010"
    assert ssd_host.send(0xCA, 0x00, 0xC1)[0].hex().upper() == "C1020001"
    assert card.state.isd.key_sets[0].kvn == 0x01


def test_a_wrong_expected_length_is_answered_with_the_right_one(card: VirtualCard) -> None:
    assert card.transmit(bytes.fromhex("80CA00C102")).hex() == "6c04"
    assert sw_of(card.transmit(bytes.fromhex("80CA00C104"))) == "9000"


def test_a_card_of_scp03_says_so() -> None:
    card = make_card(0x71, 32)
    recognition = card.transmit(bytes.fromhex("80CA006600")).hex().upper()
    assert recognition.endswith("640B06092A864886FC6B040371" + "9000")
    assert "FC6B0402" not in recognition
    assert card.transmit(bytes.fromhex("80CA00E000")).hex().upper() == "E012C00401308820C00402308820C004033088209000"
    assert card.transmit(bytes.fromhex("80CA00C100")).hex().upper() == "C1030000009000"
    assert sw_of(make_card(0x60).transmit(bytes.fromhex("80CA00C100"))) == "6A88"  # no counter without i=10


def test_a_card_of_both_protocols_names_both() -> None:
    recognition = make_card(0x70, scp02_i=0x55).transmit(bytes.fromhex("80CA006600")).hex().upper()
    assert recognition.endswith("640B06092A864886FC6B040255640B06092A864886FC6B0403709000")
