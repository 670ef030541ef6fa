"""INSTALL: creating security domains, making them selectable, extradition; and every refusal."""

import pytest

from terminal.virtual_card import Personality, VirtualCard
from tests.unit.terminal.virtual_card.host import (
    ISD_AID,
    MODULE_AID,
    NEW_KEYS,
    PACKAGE_AID,
    SSD_AID,
    Host,
    apdu,
    sw_of,
)

OTHER_AID = bytes.fromhex("A000000559101002")


def lv(*items: bytes) -> bytes:
    return b"".join(bytes([len(item)]) + item for item in items)


def test_a_new_domain_is_selectable_and_listed(card: VirtualCard, host: Host) -> None:
    assert host.install_ssd(privileges="808000") == "9000"
    body, sw = host.send(0xF2, 0x40, 0x02, b"\x4f\x00")
    assert sw == "9000"
    assert body.hex().upper() == "E3274F09A000000559101001029F700107C503808000C407A0000001515350CC08A000000151000000"
    assert Host(card).select(SSD_AID) == "9000"


def test_the_published_command_of_a_real_card_is_taken(host: Host) -> None:
    data = "07A000000151535008A00000015153504108A000000151000001018002C90000"
    assert host.send(0xE6, 0x0C, 0x00, bytes.fromhex(data)) == (b"\x00", "9000")


def test_install_and_make_selectable_may_come_apart(card: VirtualCard, host: Host) -> None:
    assert host.install_ssd(p1=0x04) == "9000"
    other = Host(card)
    assert other.select(SSD_AID) == "6A82"
    host.open(0x03)
    assert host.begin_personalization() == "6985"
    selectable = b"\x00\x00" + lv(SSD_AID, b"\x80") + b"\x00\x00"
    assert host.sw(0xE6, 0x08, 0x00, selectable) == "9000"
    assert host.sw(0xE6, 0x08, 0x00, selectable) == "6985"
    assert other.select(SSD_AID) == "9000"


def test_an_aid_is_used_once(host: Host) -> None:
    assert host.install_ssd() == "9000"
    assert host.install_ssd() == "6985"
    assert host.install_ssd(ISD_AID) == "6985"
    assert host.install_ssd(PACKAGE_AID) == "6985"


@pytest.mark.parametrize(
    ("package", "module", "sw"),
    [
        (PACKAGE_AID, MODULE_AID, "9000"),
        (bytes.fromhex("A0000000035350"), bytes.fromhex("A000000003535041"), "9000"),
        (PACKAGE_AID, bytes.fromhex("A000000003535041"), "6A88"),
        (bytes.fromhex("A0000001515351"), MODULE_AID, "6A88"),
        (b"", b"", "6A88"),
    ],
)
def test_only_the_packages_of_security_domains_are_there(host: Host, package: bytes, module: bytes, sw: str) -> None:
    data = lv(package, module, SSD_AID, b"\x80", b"\xc9\x00", b"")
    assert host.sw(0xE6, 0x0C, 0x00, data) == sw


@pytest.mark.parametrize(
    ("privileges", "parameters", "sw"),
    [
        ("80", "C900", "9000"),
        ("808000", "C900", "9000"),
        ("A08000", "C900EF04C80200FF", "9000"),
        ("80", "C90781020255820120", "9000"),
        ("00", "C900", "6A80"),
        ("8080", "C900", "6A80"),
        ("", "C900", "6A80"),
        ("A0C000", "C900", "6A80"),  # delegated and authorized management exclude each other
        ("80", "", "6A80"),
        ("80", "EF00", "6A80"),
        ("80", "C901", "6A80"),
        ("80", "C9008000", "6A80"),
    ],
)
def test_privileges_and_parameters(host: Host, privileges: str, parameters: str, sw: str) -> None:
    assert host.install_ssd(privileges=privileges, parameters=parameters) == sw


@pytest.mark.parametrize("size", [4, 17])
def test_an_aid_has_5_to_16_bytes(host: Host, size: int) -> None:
    assert host.install_ssd(bytes(size)) == "6A80"


@pytest.mark.parametrize(("p1", "p2"), [(0x00, 0), (0x02, 0), (0x0E, 0), (0x40, 0), (0x8C, 0), (0x0C, 1)])
def test_other_forms_are_not_offered(host: Host, p1: int, p2: int) -> None:
    data = lv(PACKAGE_AID, MODULE_AID, SSD_AID, b"\x80", b"\xc9\x00", b"")
    assert host.sw(0xE6, p1, p2, data) == "6A86"


def test_data_cut_short_or_too_long_is_6a80(host: Host) -> None:
    data = lv(PACKAGE_AID, MODULE_AID, SSD_AID, b"\x80", b"\xc9\x00", b"")
    for wrong in (b"", data[:3], data[:-1], data + b"\x00"):
        assert host.sw(0xE6, 0x0C, 0x00, wrong) == "6A80"


def test_no_room_is_6a84(card: VirtualCard) -> None:
    host = Host(VirtualCard(card.state, Personality(max_domains=1))).open(0x03)
    assert host.install_ssd() == "9000"
    assert host.install_ssd(OTHER_AID) == "6A84"


def test_a_domain_without_authorized_management_installs_nothing(ssd_host: Host) -> None:
    assert ssd_host.install_ssd(OTHER_AID) == "6985"


def test_a_domain_with_authorized_management_installs_below_itself(card: VirtualCard, host: Host) -> None:
    assert host.install_ssd(privileges="80C000") == "9000"
    keyless = Host(card).open(0x03, aid=SSD_AID)
    assert keyless.install_ssd(OTHER_AID) == "6985"  # not yet PERSONALIZED
    assert keyless.put_keys(0x00, 0x20)[1] == "9000"
    assert keyless.install_ssd(OTHER_AID) == "9000"
    child = card.state.find_domain(OTHER_AID)
    assert child is not None
    assert child.parent_aid == SSD_AID
    # Its channel opens with the keys of the nearest ancestor that has any.
    Host(card, NEW_KEYS).open(0x03, kvn=0x20, aid=OTHER_AID)


def extradition(target: bytes, moved: bytes) -> bytes:
    return lv(target, b"", moved, b"", b"", b"")


def test_extradition_to_itself_makes_a_root(card: VirtualCard, ssd_host: Host) -> None:
    host = Host(card).open(0x03)
    assert host.send(0xE6, 0x10, 0x00, extradition(SSD_AID, SSD_AID)) == (b"\x00", "9000")
    domain = card.state.find_domain(SSD_AID)
    assert domain is not None
    assert domain.parent_aid == SSD_AID
    assert host.begin_personalization() == "6985"
    ssd_host.open(0x03, aid=SSD_AID)


def test_extradition_refusals(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.sw(0xE6, 0x10, 0x00, extradition(SSD_AID, SSD_AID)) == "6985"
    host = Host(card).open(0x03)
    assert host.install_ssd(OTHER_AID) == "9000"
    assert host.sw(0xE6, 0x10, 0x00, extradition(OTHER_AID, SSD_AID)) == "6985"  # the receiver is not PERSONALIZED
    assert host.sw(0xE6, 0x10, 0x00, extradition(SSD_AID, b"\xa0\x00\x00\x00\x00")) == "6A88"
    assert host.sw(0xE6, 0x10, 0x00, extradition(b"\xa0\x00\x00\x00\x00", SSD_AID)) == "6A88"
    assert host.sw(0xE6, 0x10, 0x00, extradition(SSD_AID, ISD_AID)) == "6985"
    assert host.sw(0xE6, 0x10, 0x00, extradition(SSD_AID, OTHER_AID)) == "9000"
    assert host.sw(0xE6, 0x10, 0x00, extradition(OTHER_AID, SSD_AID)) == "6985"  # a circle


def test_without_a_session_it_is_6982(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xE6, 0x0C, 0x00, bytes(10)))) == "6982"
