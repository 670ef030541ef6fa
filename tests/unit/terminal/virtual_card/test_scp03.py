"""SCP03 on the card against a host that was written apart from it, and against published values."""

from dataclasses import replace

import pytest

from terminal.virtual_card import KEY_TYPE_AES, KeySet, StaticKey, VirtualCard, build_factory_state
from terminal.virtual_card.model import MAX_SEQUENCE_COUNTER_SCP03
from terminal.virtual_card.scp03 import (
    Scp03Handshake,
    compute_card_challenge,
    derive,
    derive_session_keys,
    get_size,
    is_level_offered,
)
from tests.unit.terminal.virtual_card.host import ISD_AID, SSD_AID, Host, aes_kcv, apdu, ecb, sw_of
from tests.unit.terminal.virtual_card.host03 import Host03, kdf, make_card, make_keys

S8 = (0x00, 0x10, 0x20, 0x30, 0x60, 0x70)
S16 = tuple(scp_i | 0x01 for scp_i in S8)
LEVELS = (0x00, 0x01, 0x03, 0x11, 0x13, 0x33)
REQUIRED = {0x00: 0x00, 0x01: 0x00, 0x03: 0x00, 0x11: 0x20, 0x13: 0x20, 0x33: 0x60}  # level -> bits of i
GET_ISD = (0xF2, 0x80, 0x02, b"\x4f\x00")
GET_NOTHING = (0xF2, 0x40, 0x02, b"\x4f\x00")  # no application: 6A88


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("scp_i", S8 + S16, ids=lambda scp_i: f"i={scp_i:02X}")
def test_every_i_offers_its_levels_and_no_other(scp_i: int, length: int) -> None:
    card = make_card(scp_i, length)
    for level in (*LEVELS, 0x02, 0x10, 0x12, 0x21, 0x23, 0x30, 0x31, 0x32, 0x81):
        host = Host03(card, make_keys(length), 16 if scp_i & 1 else 8)
        assert host.initialize() == "9000"
        assert host.card_cryptogram == host.expect_cryptogram()
        assert host.response[10:13] == bytes([0x30, 0x03, scp_i])
        assert len(host.response) == 13 + 2 * host.size + (3 if scp_i & 0x10 else 0)
        is_offered = level in REQUIRED and scp_i & REQUIRED[level] == REQUIRED[level]
        assert host.authenticate(level) == ("9000" if is_offered else "6A86")
        if is_offered:
            assert host.send(*GET_ISD)[0][4:12] == ISD_AID
            assert host.sw(*GET_NOTHING) == "6A88"
            assert host.sw(0xCA, 0x00, 0xE0) == "9000"  # no command data: nothing encrypted, yet it counts
            assert host.send(*GET_ISD)[0][4:12] == ISD_AID


def test_levels_of_an_i_as_a_table() -> None:
    assert [level for level in range(256) if is_level_offered(0x00, level)] == [0x00, 0x01, 0x03]
    assert [level for level in range(256) if is_level_offered(0x20, level)] == [0x00, 0x01, 0x03, 0x11, 0x13]
    assert [level for level in range(256) if is_level_offered(0x71, level)] == list(LEVELS)


@pytest.mark.parametrize("length", [16, 24, 32])
def test_derivation_is_that_of_sp_800_108(length: int) -> None:
    key = make_keys(length)[0]
    for size in (8, 16, 24, 32):
        assert derive(key, 0x04, bytes(range(16)), size) == kdf(key, 0x04, bytes(range(16)), size)


def test_session_keys_and_challenge_of_a_published_exchange() -> None:
    """The exchange of an independent host with AES-256, i=70 (GPC 2.3 Amendment D as recorded by others)."""
    enc, mac, dek = (bytes(range(start, start + 16)) * 2 for start in (0x00, 0x10, 0x20))
    keys = tuple(StaticKey(kid, KEY_TYPE_AES, key) for kid, key in enumerate((enc, mac, dek), start=1))
    key_set = KeySet(0x32, keys, sequence_counter=1)
    challenge = bytes.fromhex("8682CD81BBD8919F")
    handshake = Scp03Handshake(ISD_AID, key_set, 0x70, bytes.fromhex("C6066990FC426E1D"), challenge)
    expected = "000000000000000000003203708682CD81BBD8919F2DE3F2664581F118000001"
    assert handshake.build_response(bytes(10)).hex().upper() == expected
    # The exchange does not tell the security domain's AID: its challenge is that of an eUICC's.
    assert compute_card_challenge(key_set, 0x70, bytes.fromhex("A0000005591010FFFFFFFF8900000100")) == challenge


def test_the_counter_moves_at_each_initialize_update_before_it_is_used() -> None:
    card = make_card(0x70)
    host = Host03(card)
    seen = []
    for _ in range(3):
        assert host.initialize() == "9000"
        seen.append((host.sequence_counter, host.card_challenge))
        context = host.sequence_counter.to_bytes(3, "big") + ISD_AID
        assert host.card_challenge == kdf(host.keys[0], 0x02, context, 8)
    assert [counter for counter, _ in seen] == [1, 2, 3]
    assert len({challenge for _, challenge in seen}) == 3
    assert host.authenticate(0x33) == "9000"
    assert host.initialize() == "9000"
    assert host.sequence_counter == 4  # authenticating does not move it


def test_a_random_challenge_has_no_counter() -> None:
    card = make_card(0x60)
    host = Host03(card)
    assert host.initialize() == "9000"
    first = host.card_challenge
    assert host.initialize() == "9000"
    assert host.card_challenge != first
    assert card.state.isd.key_sets[0].sequence_counter == 0


def test_the_counter_never_wraps() -> None:
    host = Host03(make_card(sequence_counter=MAX_SEQUENCE_COUNTER_SCP03 - 1))
    assert host.initialize() == "9000"
    assert host.sequence_counter == MAX_SEQUENCE_COUNTER_SCP03
    assert host.initialize() == "6985"


@pytest.mark.parametrize(("scp_i", "length"), [(0x70, 16), (0x71, 8), (0x70, 7), (0x71, 24), (0x70, 0)])
def test_a_host_challenge_of_the_other_size_is_refused_and_counts_nothing(scp_i: int, length: int) -> None:
    card = make_card(scp_i)
    command = apdu(0x80, 0x50, 0x30, 0x00, bytes(length))
    assert sw_of(card.transmit(command)) == "6700"
    assert card.state.isd.key_sets[0].sequence_counter == 0


@pytest.mark.parametrize(("scp_i", "length"), [(0x70, 32), (0x71, 16)])
def test_external_authenticate_of_the_other_size_is_refused(scp_i: int, length: int) -> None:
    card = make_card(scp_i)
    assert Host03(card, size=get_size(scp_i)).initialize() == "9000"
    assert sw_of(card.transmit(apdu(0x84, 0x82, 0x01, 0x00, bytes(length)))) == "6700"


def test_a_wrong_mac_or_cryptogram_ends_the_handshake() -> None:
    host = Host03(make_card())
    host.initialize()
    assert host.authenticate(0x33, spoil_mac=True) == "6982"
    assert host.authenticate(0x33) == "6985"
    host.initialize()
    assert host.authenticate(0x33, spoil_cryptogram=True) == "6300"
    assert host.authenticate(0x33) == "6985"
    host.open()


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
def test_a_spoilt_command_ends_the_session(level: int, size: int) -> None:
    for position in (1, 2, 3, 5, -2):
        host = Host03(make_card(0x71 if size == 16 else 0x70), size=size).open(level)
        command = bytearray(host.wrap(*GET_ISD))
        command[position] ^= 0x04
        assert sw_of(host.card.transmit(bytes(command))) == "6982"
        assert host.sw(*GET_ISD) == "6985"
        host.open(level)


def test_a_command_cannot_be_sent_twice_or_without_its_mac() -> None:
    host = Host03(make_card()).open(0x33)
    command = host.wrap(*GET_ISD)
    assert host.unwrap(host.card.transmit(command))[1] == "9000"
    assert sw_of(host.card.transmit(command)) == "6982"
    host.open(0x01)
    assert sw_of(host.card.transmit(apdu(0x80, *GET_ISD))) == "6982"
    host.open(0x01)
    assert sw_of(host.card.transmit(bytes.fromhex("84F2800204") + bytes(4))) == "6982"


def test_wrong_padding_and_wrong_mac_are_answered_alike() -> None:
    host = Host03(make_card()).open(0x03)
    host.counter += 1
    unpadded = host.add_mac(0xF2, 0x80, 0x02, bytes(16))
    assert sw_of(host.card.transmit(unpadded)) == "6982"
    host.open(0x03)
    assert sw_of(host.card.transmit(host.add_mac(0xF2, 0x80, 0x02, bytes(15)))) == "6982"


def test_errors_carry_no_r_mac_and_leave_the_chain_intact() -> None:
    host = Host03(make_card()).open(0x33)
    assert len(host.card.transmit(host.wrap(*GET_NOTHING))) == 2
    assert host.sw(*GET_ISD) == "9000"


def test_response_protection_is_raised_and_lowered_by_command() -> None:
    host = Host03(make_card()).open(0x03)
    assert host.sw(0x78, 0x00, 0x03) == "6985"
    assert host.sw(0x7A, 0x20, 0x01) == "6A86"
    assert host.sw(0x7A, 0x30, 0x01) == "9000"
    host.level = 0x33
    assert host.send(*GET_ISD)[0][4:12] == ISD_AID
    assert host.sw(0x7A, 0x10, 0x01) == "6985"
    assert host.sw(0x78, 0x00, 0x01) == "6A86"
    assert host.sw(0x78, 0x00, 0x03) == "9000"
    host.level = 0x03
    assert host.send(*GET_ISD)[0][4:12] == ISD_AID


@pytest.mark.parametrize(("scp_i", "level", "p1"), [(0x70, 0x00, 0x10), (0x10, 0x03, 0x10), (0x70, 0x01, 0x30)])
def test_response_protection_that_i_or_level_do_not_allow(scp_i: int, level: int, p1: int) -> None:
    host = Host03(make_card(scp_i)).open(level)
    assert host.sw(0x7A, p1, 0x01) == "6985"


def test_keys_of_unlike_length_open_nothing() -> None:
    card = make_card()
    isd = card.state.isd
    odd = KeySet(0x31, (*isd.key_sets[0].keys[:2], StaticKey(3, KEY_TYPE_AES, bytes(32))))
    card = VirtualCard(card.state.with_domain(replace(isd, key_sets=(*isd.key_sets, odd))))
    assert Host03(card).initialize(0x31) == "6985"
    assert Host03(card).initialize(0x32) == "6A88"


def test_a_card_of_both_protocols_opens_each_set_by_its_own() -> None:
    card = VirtualCard(build_factory_state(scp03_i=0x71))
    host = Host(card).open(0x03)
    fields = Host03(card, make_keys(16), 16)
    assert host.sw(0xD8, 0x00, 0x81, b"\x30" + b"".join(_scp02_aes_field(host, key) for key in fields.keys)) == "9000"
    fields.open(0x33, 0x30)
    assert fields.response[10:13].hex() == "300371"
    assert Host(host.card).open(0x03, 0x01).initialize_response[10:12].hex() == "0102"


def test_a_keyless_domain_answers_with_its_parents_keys_and_its_own_challenge() -> None:
    host = Host03(make_card()).open(0x33)
    installer = Host(host.card)
    names = b"".join(
        bytes([len(name)]) + name
        for name in (bytes.fromhex("A0000001515350"), bytes.fromhex("A000000151535041"), SSD_AID, b"\x80")
    )
    assert host.sw(0xE6, 0x0C, 0x00, names + b"\x02\xc9\x00\x00") == "9000"
    assert installer.select(SSD_AID) == "9000"
    assert host.initialize(0x30) == "9000"
    context = host.sequence_counter.to_bytes(3, "big") + SSD_AID
    assert host.card_challenge == kdf(host.keys[0], 0x02, context, 8)


def test_keys_never_show() -> None:
    key_set = make_card(length=32).state.isd.key_sets[0]
    text = repr(derive_session_keys(key_set, bytes(16))) + repr(key_set) + repr(make_card().state)
    host = Host03(make_card()).open()
    for secret in (*make_keys(32), *make_keys(16), host.s_enc, host.s_mac):
        assert secret.hex() not in text
        assert repr(secret) not in text


def _scp02_aes_field(host: Host, key: bytes) -> bytes:
    return b"\x88\x11\x10" + ecb(host.session_keys["DEK"], key) + b"\x03" + aes_kcv(key)
