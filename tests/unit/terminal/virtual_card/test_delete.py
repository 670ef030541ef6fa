"""DELETE of keys and of security domains."""

import pytest

from terminal.virtual_card import Personality, VirtualCard, build_factory_state
from tests.unit.terminal.virtual_card.host import ISD_AID, NEW_KEYS, SSD_AID, Host, apdu, sw_of

CHILD_AID = bytes.fromhex("A000000559101002")


def named(aid: bytes) -> bytes:
    return b"\x4f" + bytes([len(aid)]) + aid


def versions(card: VirtualCard) -> list[int]:
    return [key_set.kvn for key_set in card.state.isd.key_sets]


def test_a_set_goes_by_its_version(card: VirtualCard, host: Host) -> None:
    host.put_keys(0x00, 0x20)
    assert host.send(0xE4, 0x00, 0x00, b"\xd2\x01\x01") == (b"\x00", "9000")
    assert versions(card) == [0x20]
    assert host.sw(0xE4, 0x00, 0x00, b"\xd2\x01\x01") == "6A88"


def test_a_factory_set_goes_by_its_version_ff() -> None:
    card = VirtualCard(build_factory_state(kvn=0xFF), Personality(keep_factory_set=True))
    host = Host(card).open(0x03)
    host.put_keys(0x00, 0x20)
    other = Host(card, NEW_KEYS).open(0x03, kvn=0x20)
    assert other.sw(0xE4, 0x00, 0x00, b"\xd2\x01\xff") == "9000"
    assert versions(card) == [0x20]


def test_one_key_or_one_identifier_in_every_set(card: VirtualCard, host: Host) -> None:
    host.put_keys(0x00, 0x20)
    host.put_keys(0x00, 0x21)
    assert host.sw(0xE4, 0x00, 0x00, bytes.fromhex("D00101D20120")) == "9000"
    assert [len(key_set.keys) for key_set in card.state.isd.key_sets] == [3, 2, 3]
    assert host.sw(0xE4, 0x00, 0x00, bytes.fromhex("D00101D20120")) == "6A88"
    assert host.sw(0xE4, 0x00, 0x00, bytes.fromhex("D00101")) == "6985"  # every set would lose its ENC key
    assert versions(card) == [0x01, 0x20, 0x21]


def test_the_isd_keeps_its_last_way_in(card: VirtualCard, host: Host) -> None:
    assert host.sw(0xE4, 0x00, 0x00, b"\xd2\x01\x01") == "6985"
    assert host.sw(0xE4, 0x00, 0x00, bytes.fromhex("D00101D20101")) == "6985"
    assert versions(card) == [0x01]


def test_another_domain_may_lose_all_keys_and_falls_back_to_its_parents(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.sw(0xE4, 0x00, 0x00, b"\xd2\x01\x20") == "9000"
    Host(card).open(0x03, aid=SSD_AID)


@pytest.mark.parametrize("data", ["", "D3010101", "D2020101", "4F", "D20101C00101", "D200"])
def test_malformed_data_is_6a80(host: Host, data: str) -> None:
    assert host.sw(0xE4, 0x00, 0x00, bytes.fromhex(data)) == "6A80"


@pytest.mark.parametrize(("p1", "p2"), [(0x80, 0x00), (0x00, 0x40), (0x00, 0x01)])
def test_other_forms_are_not_offered(host: Host, p1: int, p2: int) -> None:
    assert host.sw(0xE4, p1, p2, b"\xd2\x01\x01") == "6A86"


def test_a_domain_goes_by_its_aid(card: VirtualCard, host: Host) -> None:
    host.install_ssd()
    assert host.send(0xE4, 0x00, 0x00, named(SSD_AID)) == (b"\x00", "9000")
    assert card.state.find_domain(SSD_AID) is None
    assert host.sw(0xE4, 0x00, 0x00, named(SSD_AID)) == "6A88"
    assert host.install_ssd() == "9000"


def test_what_stands_below_goes_only_when_asked_for(card: VirtualCard, host: Host) -> None:
    host.install_ssd(privileges="80C000")
    middle = Host(card).open(0x03, aid=SSD_AID)
    middle.put_keys(0x00, 0x20)
    assert middle.install_ssd(CHILD_AID) == "9000"
    host.open(0x03)
    assert host.sw(0xE4, 0x00, 0x00, named(SSD_AID)) == "6985"
    assert host.sw(0xE4, 0x00, 0x80, named(SSD_AID)) == "9000"
    assert len(card.state.domains) == 1


def test_who_may_delete(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.sw(0xE4, 0x00, 0x00, named(SSD_AID)) == "6985"
    host = Host(card).open(0x03)
    assert host.sw(0xE4, 0x00, 0x00, named(ISD_AID)) == "6985"


def test_without_a_session_it_is_6982(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xE4, 0x00, 0x00, b"\xd2\x01\x01"))) == "6982"
