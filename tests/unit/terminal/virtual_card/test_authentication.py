"""INITIALIZE UPDATE, EXTERNAL AUTHENTICATE and the R-MAC session commands as a host sees them."""

from dataclasses import replace

import pytest

from terminal.virtual_card import KeySet, Personality, StaticKey, VirtualCard, build_factory_state
from terminal.virtual_card.model import KEY_TYPE_AES
from tests.unit.terminal.virtual_card.host import NEW_KEYS, SSD_AID, Host, apdu, sw_of

LEVELS_BY_I = [
    (scp_i, level, level in {0, 1, 3} or (bool(scp_i & 0x20) and level in {0x10, 0x11, 0x13}))
    for scp_i in (0x15, 0x35, 0x55, 0x75)
    for level in (0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x33, 0x81)
]


@pytest.mark.parametrize(("scp_i", "level", "offered"), LEVELS_BY_I)
def test_each_i_offers_its_levels_and_no_other(scp_i: int, level: int, offered: bool) -> None:
    host = Host(VirtualCard(build_factory_state(scp02_i=scp_i)))
    assert host.initialize() == "9000"
    assert host.authenticate(level) == ("9000" if offered else "6A86")
    if offered:
        assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"
        assert host.sw(0xF2, 0x40, 0x02, b"\x4f\x00") == "6A88"
        assert host.send(0xCA, 0x00, 0xC1)[0].hex() == "c1020001"


def test_i55_repeats_the_card_challenge_until_the_counter_moves(card: VirtualCard) -> None:
    host = Host(card)
    host.initialize()
    first = host.initialize_response
    host.initialize()
    assert host.initialize_response == first
    assert host.authenticate() == "9000"
    host.initialize()
    assert host.initialize_response[12:14] == b"\x00\x01"
    assert host.initialize_response[14:20] != first[14:20]


def test_i15_takes_a_new_random_card_challenge_each_time() -> None:
    host = Host(VirtualCard(build_factory_state(scp02_i=0x15)))
    host.initialize()
    first = host.initialize_response
    host.initialize()
    assert host.initialize_response[14:20] != first[14:20]
    assert host.initialize_response[12:14] == first[12:14]


def test_wrong_mac_is_6982_and_does_not_count(card: VirtualCard) -> None:
    host = Host(card)
    host.initialize()
    assert host.authenticate(spoil_mac=True) == "6982"
    host.initialize()
    assert host.initialize_response[12:14] == b"\x00\x00"


def test_wrong_cryptogram_is_6300_and_the_session_counts_because_its_mac_was_right(card: VirtualCard) -> None:
    host = Host(card)
    host.initialize()
    assert host.authenticate(spoil_cryptogram=True) == "6300"
    host.initialize()
    assert host.initialize_response[12:14] == b"\x00\x01"


def test_authenticating_needs_a_fresh_initialize_update_each_time(card: VirtualCard) -> None:
    host = Host(card)
    host.initialize()
    assert host.authenticate(spoil_mac=True) == "6982"
    assert host.authenticate() == "6985"


def test_selecting_between_the_two_commands_ends_the_handshake(card: VirtualCard) -> None:
    host = Host(card)
    host.initialize()
    host.select(b"")
    assert host.authenticate() == "6985"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("80500000080102030405060708", "9000"),
        ("805000000801020304050607080000", "6700"),
        ("80500000070102030405060700", "6700"),
        ("805000000401020304", "6700"),
        ("8050000000", "6700"),
        ("80500001080102030405060708", "6A86"),
        ("80507F00080102030405060708", "6A88"),
        ("00500000080102030405060708", "6E00"),
        ("84500000080102030405060708", "6E00"),
        ("8082010010" + 16 * "00", "6E00"),
        ("8482010010" + 16 * "00", "6985"),
    ],
)
def test_malformed_commands(card: VirtualCard, command: str, sw: str) -> None:
    assert sw_of(card.transmit(bytes.fromhex(command))) == sw


@pytest.mark.parametrize(("tail", "sw"), [("8482010008" + 8 * "00", "6700"), ("8482010110" + 16 * "00", "6A86")])
def test_malformed_external_authenticate(card: VirtualCard, tail: str, sw: str) -> None:
    Host(card).initialize()
    assert sw_of(card.transmit(bytes.fromhex(tail))) == sw


def test_failures_in_a_row_block_the_keys_when_the_product_counts_them() -> None:
    card = VirtualCard(build_factory_state(), Personality(max_failed_authentications=2))
    host = Host(card)
    host.initialize()
    assert host.authenticate(spoil_mac=True) == "6982"
    host.open()
    for _ in range(2):
        assert host.initialize() == "9000"
        assert host.authenticate(spoil_mac=True) == "6982"
    assert host.initialize() == "6983"
    card.reset()
    assert host.initialize() == "6983"


def test_failures_never_block_by_default(card: VirtualCard) -> None:
    host = Host(card)
    for _ in range(20):
        host.initialize()
        assert host.authenticate(spoil_mac=True) == "6982"
    host.open()


def test_a_keyless_domain_answers_with_its_parents_keys_and_its_own_challenge(card: VirtualCard, host: Host) -> None:
    assert host.install_ssd() == "9000"
    keyless = Host(card)
    keyless.select(b"")
    keyless.initialize()
    isd_challenge = keyless.initialize_response[14:20]
    keyless.select(SSD_AID)
    assert keyless.initialize() == "9000"
    assert keyless.initialize_response[10:14].hex() == "01020001"
    assert keyless.initialize_response[14:20] != isd_challenge
    assert keyless.authenticate() == "9000"
    assert card.state.isd.key_sets[0].sequence_counter == 2


def test_a_domain_with_keys_no_longer_answers_for_its_parents_key_version(ssd_host: Host) -> None:
    assert ssd_host.select(SSD_AID) == "9000"
    assert ssd_host.initialize(0x01) == "6A88"
    assert ssd_host.initialize(0x20) == "9000"


def test_a_set_of_aes_keys_does_not_open_scp02() -> None:
    state = build_factory_state()
    aes_set = KeySet(0x30, tuple(StaticKey(kid, KEY_TYPE_AES, NEW_KEYS[0]) for kid in (1, 2, 3)))
    partial = KeySet(0x21, (StaticKey(1, 0x80, NEW_KEYS[0]),))
    changed = replace(state.isd, key_sets=(aes_set, partial, *state.isd.key_sets))
    host = Host(VirtualCard(state.with_domain(changed)))
    assert host.initialize(0x30) == "6985"
    assert host.initialize(0x21) == "6A88"
    assert host.initialize(0x00) == "9000"
    assert host.initialize_response[10] == 0x01


def test_the_counter_never_wraps() -> None:
    host = Host(VirtualCard(build_factory_state(sequence_counter=0xFFFE)))
    host.open()
    assert host.initialize() == "6985"


def test_r_mac_can_be_switched_on_and_off_inside_a_session() -> None:
    host = Host(VirtualCard(build_factory_state(scp02_i=0x75))).open(0x01)
    assert host.sw(0x78, 0x00, 0x03) == "6985"
    assert host.sw(0x7A, 0x10, 0x01) == "9000"
    host.level, host.r_icv = 0x11, host.last_mac
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"
    assert host.sw(0x7A, 0x10, 0x01) == "6985"
    assert host.sw(0x78, 0x00, 0x01) == "9000"
    assert host.sw(0x78, 0x00, 0x03) == "9000"
    host.level = 0x01
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"


def test_r_mac_is_refused_where_i_does_not_offer_it(host: Host) -> None:
    assert host.sw(0x7A, 0x10, 0x01) == "6985"
    assert host.sw(0x7A, 0x20, 0x01) == "6A86"
    assert host.sw(0x78, 0x00, 0x02) == "6A86"


def test_r_mac_set_at_authentication_cannot_be_ended() -> None:
    host = Host(VirtualCard(build_factory_state(scp02_i=0x35))).open(0x11)
    assert host.sw(0x78, 0x00, 0x03) == "6985"
    assert host.sw(0x78, 0x00, 0x03, b"\x01") == "6700"


def test_r_mac_commands_need_a_session(card: VirtualCard) -> None:
    assert sw_of(card.transmit(apdu(0x80, 0x7A, 0x10, 0x01))) == "6982"
