"""INSTALL [for personalization] and STORE DATA with key groups."""

import pytest

from terminal.virtual_card import Personality, VirtualCard
from tests.unit.terminal.virtual_card.host import (
    KEY,
    MODULE_AID,
    NEW_KEYS,
    PACKAGE_AID,
    SSD_AID,
    Host,
    aes_kcv,
    apdu,
    ecb,
    padded,
    sw_of,
)
from tests.unit.terminal.virtual_card.host03 import Host03, cbc, make_card, make_keys
from tests.unit.terminal.virtual_card.host03 import padded as padded03


@pytest.fixture
def personalizing(host: Host) -> Host:
    """The ISD's channel with a new domain under personalization."""
    assert host.install_ssd() == "9000"
    assert host.begin_personalization() == "9000"
    return host


def ssd_versions(card: VirtualCard) -> list[int]:
    domain = card.state.find_domain(SSD_AID)
    assert domain is not None
    return [key_set.kvn for key_set in domain.key_sets]


@pytest.mark.parametrize("p1", [0x88, 0xA8, 0xE8])
def test_keys_reach_the_domain_and_open_its_channel(card: VirtualCard, personalizing: Host, p1: int) -> None:
    assert personalizing.sw(0xE2, p1, 0x00, personalizing.key_groups(0x30)) == "9000"
    assert ssd_versions(card) == [0x30]
    domain = card.state.find_domain(SSD_AID)
    assert domain is not None
    assert domain.life_cycle == 0x0F
    assert [key_set.kvn for key_set in card.state.isd.key_sets] == [0x01]
    Host(card, NEW_KEYS).open(0x03, kvn=0x30, aid=SSD_AID)


@pytest.mark.parametrize("size", [1, 16, 90])
def test_data_may_come_in_numbered_blocks_and_count_at_the_last(
    card: VirtualCard, personalizing: Host, size: int
) -> None:
    data = personalizing.key_groups(0x30)
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    for number, block in enumerate(blocks):
        assert ssd_versions(card) == []
        is_last = number == len(blocks) - 1
        assert personalizing.sw(0xE2, 0x88 if is_last else 0x08, number, block) == "9000"
    assert ssd_versions(card) == [0x30]


def test_a_group_of_attributes_for_each_key_is_taken(card: VirtualCard, personalizing: Host) -> None:
    whole = personalizing.key_groups(0x30)
    templates, values = whole[3 : 3 + whole[2]], whole[3 + whole[2] :]
    step = len(templates) // 3
    data = b""
    for index in range(3):
        template = templates[index * step : (index + 1) * step]
        data += b"\x00\xb9" + bytes([len(template)]) + template + values[index * 19 : (index + 1) * 19]
    assert personalizing.sw(0xE2, 0x88, 0x00, data) == "9000"
    assert ssd_versions(card) == [0x30]


def test_attributes_may_be_encrypted_when_p1_says_that_all_is(card: VirtualCard, personalizing: Host) -> None:
    whole = personalizing.key_groups(0x30)
    plain, values = whole[3 : 3 + whole[2]], whole[3 + whole[2] :]
    hidden = ecb(personalizing.session_keys["DEK"], padded(plain))
    data = b"\x00\xb9" + bytes([len(hidden)]) + hidden + values
    assert personalizing.sw(0xE2, 0x88, 0x00, data) == "6A80"
    assert personalizing.begin_personalization() == "9000"
    assert personalizing.sw(0xE2, 0xE8, 0x00, data) == "9000"
    assert ssd_versions(card) == [0x30]


def test_an_aes_key_is_taken(card: VirtualCard, personalizing: Host) -> None:
    key = bytes(range(24))
    template = bytes.fromhex("800188 810118 820101 830131 8403") + aes_kcv(key)
    template = b"\xb9" + bytes([len(template)]) + template
    value = ecb(personalizing.session_keys["DEK"], key.ljust(32, b"\x00"))
    data = b"\x00\xb9" + bytes([len(template)]) + template + b"\x81\x13\xff\x00\x20" + value
    assert personalizing.sw(0xE2, 0x88, 0x00, data) == "9000"
    assert ssd_versions(card) == [0x31]


def test_a_wrong_check_value_is_6982_and_nothing_is_kept(card: VirtualCard, personalizing: Host) -> None:
    data = bytearray(personalizing.key_groups(0x30))
    data[-1] ^= 1
    assert personalizing.sw(0xE2, 0x88, 0x00, bytes(data)) == "6982"
    assert ssd_versions(card) == []


def test_after_a_failure_the_next_block_is_for_the_isd(card: VirtualCard, personalizing: Host) -> None:
    assert personalizing.sw(0xE2, 0x88, 0x05, personalizing.key_groups(0x30)) == "6A86"
    assert personalizing.sw(0xE2, 0x88, 0x00, personalizing.key_groups(0x30)) == "9000"
    assert ssd_versions(card) == []
    assert [key_set.kvn for key_set in card.state.isd.key_sets] == [0x01, 0x30]


def test_personalization_ends_at_the_last_block(card: VirtualCard, personalizing: Host) -> None:
    assert personalizing.sw(0xE2, 0x88, 0x00, personalizing.key_groups(0x30)) == "9000"
    assert personalizing.sw(0xE2, 0x88, 0x00, personalizing.key_groups(0x31)) == "9000"
    assert ssd_versions(card) == [0x30]


@pytest.mark.parametrize("p1", [0x89, 0x98, 0xC8, 0x8C])
def test_codings_that_p1_does_not_have(personalizing: Host, p1: int) -> None:
    assert personalizing.sw(0xE2, p1, 0x00, personalizing.key_groups(0x30)) == "6A86"


def test_one_series_keeps_one_coding_and_counts_on(personalizing: Host) -> None:
    data = personalizing.key_groups(0x30)
    assert personalizing.sw(0xE2, 0x08, 0x00, data[:20]) == "9000"
    assert personalizing.sw(0xE2, 0xA8, 0x01, data[20:]) == "6A86"
    assert personalizing.begin_personalization() == "9000"
    assert personalizing.sw(0xE2, 0x08, 0x00, data[:20]) == "9000"
    assert personalizing.sw(0xE2, 0x88, 0x00, data[20:]) == "6A86"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: data[3 + data[2] :],  # values without attributes
        lambda data: data[: 3 + data[2]],  # attributes without values
        lambda data: data[:-19],  # one value missing
        lambda data: data + data[-19:],  # one value too many
        lambda data: data.replace(b"\x00\xb9", b"\x00\xba", 1),
        lambda data: data.replace(b"\x83\x01\x30", b"\x83\x01\x00"),
        lambda data: data.replace(b"\x83\x01\x30", b"\x83\x01\xff"),
        lambda data: data.replace(b"\x82\x01\x01", b"\x82\x01\x00"),
        lambda data: data.replace(b"\x81\x01\x10", b"\x81\x01\x11"),
        lambda data: data.replace(b"\x80\x01\x80", b"\x80\x01\xa1"),
        lambda data: data.replace(b"\x84\x03", b"\x85\x03"),
    ],
)
def test_malformed_groups_are_6a80(personalizing: Host, spoil: object) -> None:
    assert callable(spoil)
    assert personalizing.sw(0xE2, 0x88, 0x00, spoil(personalizing.key_groups(0x30))) == "6A80"


def test_no_data_is_6a80(personalizing: Host) -> None:
    assert personalizing.sw(0xE2, 0x88, 0x00) == "6A80"


def test_no_room_is_6a84(card: VirtualCard) -> None:
    host = Host(VirtualCard(card.state, Personality(max_key_sets=1))).open(0x03)
    assert host.sw(0xE2, 0x88, 0x00, host.key_groups(0x30)) == "6A84"


def test_personalization_is_for_associated_domains_only(card: VirtualCard, host: Host, ssd_host: Host) -> None:
    assert ssd_host.begin_personalization() == "6985"
    host.open(0x03)
    assert host.begin_personalization(b"\xa0\x00\x00\x00\x01") == "6A88"
    assert host.begin_personalization(card.state.isd.aid) == "6985"


def test_new_channel_ends_the_personalization(card: VirtualCard, personalizing: Host) -> None:
    personalizing.open(0x03)
    assert personalizing.sw(0xE2, 0x88, 0x00, personalizing.key_groups(0x30)) == "9000"
    assert ssd_versions(card) == []


def test_the_isd_takes_its_identification_numbers(card: VirtualCard, host: Host) -> None:
    assert host.sw(0xE2, 0x90, 0x00, bytes.fromhex("4203112233 4502AABB")) == "9000"
    assert host.send(0xCA, 0x00, 0x42)[0].hex() == "4203112233"
    assert host.send(0xCA, 0x00, 0x45)[0].hex() == "4502aabb"
    assert host.sw(0xE2, 0x90, 0x00, bytes.fromhex("430100")) == "6A80"
    assert card.state.cin.hex() == "aabb"


def test_another_domain_has_none(ssd_host: Host) -> None:
    assert ssd_host.sw(0xE2, 0x90, 0x00, bytes.fromhex("4203112233")) == "6A88"


def test_a_domain_may_store_keys_under_its_own_channel(card: VirtualCard, ssd_host: Host) -> None:
    assert ssd_host.sw(0xE2, 0x88, 0x00, ssd_host.key_groups(0x21, (KEY, KEY, KEY))) == "9000"
    assert ssd_versions(card) == [0x20, 0x21]
    Host(card).open(0x01, kvn=0x21, aid=SSD_AID)


def test_without_a_session_it_is_6982(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0xE2, 0x88, 0x00, bytes(10)))) == "6982"


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("p1", [0x88, 0xE8])
def test_aes_keys_over_scp03_reach_the_domain_and_open_its_channel(p1: int, length: int) -> None:
    host = Host03(make_card()).open(0x33)
    names = b"".join(bytes([len(name)]) + name for name in (PACKAGE_AID, MODULE_AID, SSD_AID, b"\x80"))
    assert host.sw(0xE6, 0x0C, 0x00, names + b"\x02\xc9\x00\x00") == "9000"
    assert host.sw(0xE6, 0x20, 0x00, b"\x00\x00" + bytes([len(SSD_AID)]) + SSD_AID + bytes(3)) == "9000"
    keys = make_keys(length, 0x90)
    templates, values = b"", b""
    for kid, key in enumerate(keys, start=1):
        template = bytes.fromhex(f"9601008001888101{length:02x}8201{kid:02x}8301308403{aes_kcv(key).hex()}")
        templates += b"\xb9" + bytes([len(template)]) + template
        value = cbc(host.keys[2], key + bytes(-length % 16))
        values += bytes.fromhex("8113") + bytes([len(value)]) + value
    if p1 == 0xE8:  # a host that encrypts every group
        templates = cbc(host.keys[2], padded03(templates))
    data = bytes.fromhex("00B9") + bytes([len(templates)]) + templates + values
    half = len(data) // 2
    assert host.sw(0xE2, p1 & ~0x80, 0x00, data[:half]) == "9000"
    assert host.sw(0xE2, p1, 0x01, data[half:]) == "9000"
    Host03(host.card, keys).open(0x33, 0x30, SSD_AID)


def test_a_whole_aes_set_that_comes_again_counts_from_zero() -> None:
    card = make_card(sequence_counter=7)
    host = Host03(card).open(0x33)
    templates, values = b"", b""
    for kid, key in enumerate(host.keys, start=1):
        template = bytes.fromhex(f"80018881011082 01{kid:02x}8301308403{aes_kcv(key).hex()}")
        templates += b"\xb9" + bytes([len(template)]) + template
        values += bytes.fromhex("811310") + cbc(host.keys[2], key)
    assert host.sw(0xE2, 0x88, 0x00, bytes.fromhex("00B9") + bytes([len(templates)]) + templates + values) == "9000"
    assert card.state.isd.key_sets[0].sequence_counter == 0
