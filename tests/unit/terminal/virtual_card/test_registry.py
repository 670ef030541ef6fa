"""GET STATUS and SET STATUS."""

import pytest

from terminal.virtual_card import VirtualCard
from tests.unit.terminal.virtual_card.host import ISD_AID, NEW_KEYS, SSD_AID, Host, apdu, sw_of

ALL = b"\x4f\x00"


def named(aid: bytes) -> bytes:
    return b"\x4f" + bytes([len(aid)]) + aid


@pytest.mark.parametrize("scope", [0x40, 0x20, 0x10])
def test_an_empty_scope_is_6a88(host: Host, scope: int) -> None:
    assert host.sw(0xF2, scope, 0x02, ALL) == "6A88"


def test_the_old_format_is_length_aid_state_privilege(host: Host) -> None:
    host.install_ssd()
    assert host.send(0xF2, 0x80, 0x00, ALL)[0].hex().upper() == "08A000000151000000019E"
    assert host.send(0xF2, 0x40, 0x00, ALL)[0].hex().upper() == "09A000000559101001020780"


def test_a_tag_list_selects_what_is_told(host: Host) -> None:
    host.install_ssd()
    body, _sw = host.send(0xF2, 0x40, 0x02, bytes.fromhex("4F005C034F9F70"))
    assert body.hex().upper() == "E30F4F09A000000559101001029F700107"


def test_the_filter_is_the_beginning_of_an_aid(host: Host) -> None:
    host.install_ssd()
    assert host.sw(0xF2, 0x40, 0x02, named(SSD_AID[:6])) == "9000"
    assert host.sw(0xF2, 0x40, 0x02, named(ISD_AID)) == "6A88"
    assert host.sw(0xF2, 0x80, 0x02, named(ISD_AID)) == "9000"


def test_a_long_list_comes_in_pages(host: Host) -> None:
    aids = [bytes.fromhex("A00000055910100000") + bytes([number]) for number in range(12)]
    for aid in aids:
        assert host.install_ssd(aid) == "9000"
    listed, sw = host.send(0xF2, 0x40, 0x02, ALL)
    assert sw == "6310"
    while sw == "6310":
        page, sw = host.send(0xF2, 0x40, 0x03, ALL)
        listed += page
    assert sw == "9000"
    assert [aid for aid in aids if aid in listed] == aids
    assert host.sw(0xF2, 0x40, 0x03, ALL) == "6A88"


@pytest.mark.parametrize(
    ("p1", "p2", "data", "sw"),
    [
        (0x00, 0x02, "4F00", "6A86"),
        (0xC0, 0x02, "4F00", "6A86"),
        (0x80, 0x04, "4F00", "6A86"),
        (0x80, 0x02, "", "6A80"),
        (0x80, 0x02, "5C00", "6A80"),
        (0x80, 0x02, "4F05A0", "6A80"),
    ],
)
def test_malformed_queries(host: Host, p1: int, p2: int, data: str, sw: str) -> None:
    assert host.sw(0xF2, p1, p2, bytes.fromhex(data)) == sw


def test_a_supplementary_domain_sees_itself_and_no_other(ssd_host: Host) -> None:
    assert ssd_host.sw(0xF2, 0x80, 0x02, ALL) == "6A88"
    assert SSD_AID in ssd_host.send(0xF2, 0x40, 0x02, ALL)[0]


def test_status_needs_a_session(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xF2, 0x80, 0x02, ALL))) == "6982"
    assert sw_of(card.transmit(apdu(0x80, 0xF0, 0x40, 0x0F, SSD_AID))) == "6982"


def test_a_domain_becomes_personalized_by_command(card: VirtualCard, host: Host) -> None:
    host.install_ssd()
    assert host.sw(0xF0, 0x40, 0x0F, SSD_AID) == "9000"
    domain = card.state.find_domain(SSD_AID)
    assert domain is not None
    assert domain.life_cycle == 0x0F
    assert host.sw(0xF0, 0x40, 0x0F, SSD_AID) == "6985"
    assert host.sw(0xF0, 0x40, 0x07, SSD_AID) == "6985"


def test_a_locked_domain_is_gone_until_it_is_unlocked(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.sw(0xF0, 0x40, 0x8F, SSD_AID) == "6985"  # it cannot lock itself
    host = Host(card).open(0x03)
    assert host.sw(0xF0, 0x40, 0x80, SSD_AID) == "9000"
    assert host.begin_personalization() == "6985"
    assert Host(card).select(SSD_AID) == "6A82"
    host.open(0x03)
    assert host.sw(0xF0, 0x40, 0x0F, SSD_AID) == "9000"
    Host(card, NEW_KEYS).open(0x03, aid=SSD_AID)


def test_a_domain_and_all_below_it(card: VirtualCard, host: Host) -> None:
    host.install_ssd()
    assert host.sw(0xF0, 0x60, 0x87, SSD_AID) == "9000"
    assert Host(card).select(SSD_AID) == "6A82"


@pytest.mark.parametrize(
    ("p1", "p2", "aid", "sw"),
    [
        (0x40, 0x0F, "A0000000000000", "6A88"),
        (0x40, 0x0F, "A000000151000000", "6985"),
        (0x20, 0x0F, "A000000151000000", "6A86"),
        (0x80, 0x03, "", "6A86"),
        (0x80, 0x0F, "", "6985"),
    ],
)
def test_refusals(host: Host, p1: int, p2: int, aid: str, sw: str) -> None:
    assert host.sw(0xF0, p1, p2, bytes.fromhex(aid)) == sw


def test_the_cards_life_cycle_runs_forward(card: VirtualCard, host: Host) -> None:
    host.install_ssd()
    for state in (0x07, 0x0F, 0x7F):
        assert host.sw(0xF0, 0x80, state) == "9000"
    assert Host(card).select(SSD_AID) == "6A82"  # of a locked card only the ISD answers
    host.open(0x03)
    assert host.sw(0xF0, 0x80, 0x0F) == "9000"
    assert Host(card).select(SSD_AID) == "9000"


def test_a_terminated_card_tells_who_it_was_and_no_more(card: VirtualCard, host: Host) -> None:
    assert host.sw(0xF0, 0x80, 0xFF) == "9000"
    card.reset()
    assert Host(card).select(ISD_AID) == "6985"
    assert Host(card).initialize() == "6985"
    assert sw_of(card.transmit(bytes.fromhex("80CA9F7F00"))) == "9000"


def test_another_domain_cannot_touch_the_card(ssd_host: Host) -> None:
    assert ssd_host.sw(0xF0, 0x80, 0x7F) == "6985"
