"""SCP02 against published answers, and the rules of its messages."""

import pytest

from terminal.virtual_card import VirtualCard, build_factory_state
from terminal.virtual_card.crypto import compute_des_kcv, encrypt_ecb
from terminal.virtual_card.model import KeySet, StaticKey
from terminal.virtual_card.scp02 import compute_card_challenge, derive_session_keys
from tests.unit.terminal.virtual_card.host import KEY, Host, cbc, retail_mac, sw_of

FACTORY_SET = KeySet(0x01, tuple(StaticKey(kid, 0x80, KEY) for kid in (1, 2, 3)))


def test_session_keys_of_the_public_test_key() -> None:
    keys = derive_session_keys(FACTORY_SET)
    kcvs = [compute_des_kcv(key).hex().upper() for key in (keys.s_enc, keys.c_mac, keys.dek, keys.r_mac)]
    assert kcvs == ["F2DCDD", "5FCC69", "85272E", "9F749A"]
    assert encrypt_ecb(keys.dek, KEY).hex().upper() == "EFBEE6C6D99D7B70BDE9D7E927F020AF"


def test_card_challenge_of_a_real_card() -> None:
    key_set = KeySet(0xFF, FACTORY_SET.keys, sequence_counter=0x0008)
    assert compute_card_challenge(key_set, bytes.fromhex("A000000003000000")).hex().upper() == "8B320EC60E9B"


def test_initialize_update_of_a_real_card() -> None:
    state = build_factory_state(
        isd_aid=bytes.fromhex("A000000003000000"),
        kvn=0xFF,
        kdd=bytes.fromhex("00007295713236006868"),
        sequence_counter=8,
    )
    response = VirtualCard(state).transmit(bytes.fromhex("80500000080102030405060708"))
    assert response.hex().upper() == "00007295713236006868FF0200088B320EC60E9BF5A6DBF1B3FEB8759000"


def test_a_published_session_is_taken_command_by_command() -> None:
    enc, mac, dek = (
        bytes.fromhex(text)
        for text in (
            "100102030405060708090A0B0C0D0E0F",
            "101102030405060708090A0B0C0D0E0F",
            "102102030405060708090A0B0C0D0E0F",
        )
    )
    state = build_factory_state((enc, mac, dek), kvn=0x70, scp02_i=0x15, kdd=bytes(10), sequence_counter=1)
    card = VirtualCard(state, random_bytes=lambda _size: bytes.fromhex("6B4524ABEE7C"))
    answers = [
        card.transmit(bytes.fromhex(command)).hex().upper()
        for command in (
            "805020000840A62C37FA6304F800",
            "805070000840A62C37FA6304F800",
            "8482010010BA6961667737C5BCEBECE14C7D6A4376",
            "84F220020814DB34FA4341DCA8",
            "84CA00660855ED7C5FF069512B00",
            "84F22002124F0212345C054F9F70C58FC1B380C4228AF8",
            "84F280020A4F003B95F09317DE6A4E00",
        )
    ]
    assert answers[:3] == ["6A88", "00000000000000000000700200016B4524ABEE7CF32EA3838BC148F39000", "9000"]
    assert answers[3] == "6A80"
    assert answers[4].endswith("2A864886FC6B0402159000")
    assert answers[5] == "6A80"  # the tag list in this published command is one byte short of its length
    assert answers[6] == "E3134F08A0000001510000009F700101C5039EFE809000"


@pytest.mark.parametrize("level", [0x01, 0x03])
def test_a_wrong_mac_ends_the_session_and_everything_is_refused_until_a_new_one(card: VirtualCard, level: int) -> None:
    host = Host(card).open(level)
    wrapped = bytearray(host.wrap(0xF2, 0x80, 0x02, b"\x4f\x00"))
    wrapped[-2] ^= 1
    assert sw_of(card.transmit(bytes(wrapped))) == "6982"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"
    assert sw_of(card.transmit(bytes.fromhex("80CA00E000"))) == "6985"
    host.open(level)
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"


def test_a_reset_clears_an_aborted_session(card: VirtualCard) -> None:
    Host(card).open(0x01)
    assert sw_of(card.transmit(bytes.fromhex("84F2800208" + 8 * "00"))) == "6982"
    assert sw_of(card.transmit(bytes.fromhex("80CA00E000"))) == "6985"
    card.reset()
    assert sw_of(card.transmit(bytes.fromhex("80CA00E000"))) == "9000"


@pytest.mark.parametrize(
    "command", ["80F28002024F0000", "80CA00E000", "84F2800207" + 7 * "00", "84F28002" + "0C" + 12 * "00"]
)
def test_a_command_with_too_little_protection_ends_the_session(card: VirtualCard, command: str) -> None:
    host = Host(card).open(0x03)
    assert sw_of(card.transmit(bytes.fromhex(command))) == "6982"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"


def test_a_repeated_command_fails_because_the_chain_moved_on(card: VirtualCard) -> None:
    host = Host(card).open(0x01)
    wrapped = host.wrap(0xF2, 0x80, 0x02, b"\x4f\x00")
    assert sw_of(card.transmit(wrapped)) == "9000"
    assert sw_of(card.transmit(wrapped)) == "6982"


def test_a_refused_command_leaves_the_chain_intact(card: VirtualCard) -> None:
    host = Host(card).open(0x03)
    assert host.sw(0xF2, 0x40, 0x02, b"\x4f\x00") == "6A88"
    assert host.sw(0x02, 0x00, 0x00, b"\x01") == "6D00"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"


def test_the_empty_string_may_come_encrypted_or_not(card: VirtualCard) -> None:
    host = Host(card).open(0x03)
    assert host.sw(0xCA, 0x00, 0xE0) == "9000"
    icv = cbc(host.session_keys["C-MAC"][:8] * 3, host.last_mac)
    mac = retail_mac(host.session_keys["C-MAC"], bytes.fromhex("84CA00E008"), icv)
    body = cbc(host.session_keys["S-ENC"], bytes.fromhex("8000000000000000")) + mac
    host.last_mac = mac
    assert sw_of(card.transmit(bytes.fromhex("84CA00E010") + body + b"\x00")) == "9000"
    assert host.sw(0xCA, 0x00, 0xE0) == "9000"


def test_level_00_takes_plain_commands(card: VirtualCard) -> None:
    host = Host(card).open(0x00)
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "9000"
    assert sw_of(card.transmit(bytes.fromhex("80CA00E000"))) == "9000"


def test_session_keys_do_not_show_in_a_repr() -> None:
    text = repr(derive_session_keys(FACTORY_SET)) + repr(FACTORY_SET) + repr(build_factory_state())
    assert KEY.hex() not in text.lower()
    assert repr(KEY) not in text
    assert "@ABC" not in text
