"""What both protocols do alike."""

from collections.abc import Callable

import pytest

from kms.card.apdu import CommandApdu
from kms.card.channel_state import ChannelParameters, Handshake, SecurityLevel
from kms.card.secure_messaging import (
    build_mac_input,
    check_card_cryptogram,
    check_challenge,
    check_class,
    check_marker,
    check_parameters,
    check_r_mac,
    check_room,
    get_most_plain_data,
    is_error,
    pad,
    xor,
)
from kms.errors import Code, KmsError

HANDSHAKE = Handshake(bytes(8), bytes(10), 1, 3, 0x70, 1, b"\x01" * 8, b"\x02" * 8)
PARAMETERS = ChannelParameters(3, 0x70, SecurityLevel.C_MAC, bytes(5))


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize("length", range(33))
def test_padding_always_adds_and_fills_a_block(length: int, block: int) -> None:
    padded = pad(bytes(length), block)
    assert padded[: length + 1] == bytes(length) + b"\x80"
    assert len(padded) % block == 0
    assert 1 <= len(padded) - length <= block


def test_xor_takes_equal_lengths_alone() -> None:
    assert xor(b"\x0f\xf0", b"\xff\xff") == b"\xf0\x0f"
    with pytest.raises(ValueError, match="longer"):
        xor(b"\x00", b"\x00\x00")


@pytest.mark.parametrize(
    ("level", "mac", "block", "most"), [(0, 8, 8, 255), (1, 8, 8, 247), (3, 8, 8, 239), (3, 16, 16, 223)]
)
def test_room_for_plain_data(level: int, mac: int, block: int, most: int) -> None:
    assert get_most_plain_data(SecurityLevel(level), mac, block) == most
    if level & 2:
        assert len(pad(bytes(most), block)) + mac <= 255 < len(pad(bytes(most + 1), block)) + mac


def test_a_mac_covers_the_modified_header_of_channel_zero() -> None:
    command = CommandApdu(0x82, 0xE2, 0x01, 0x02, b"\xaa\xbb", 256)
    assert build_mac_input(command, 16) == bytes.fromhex("84E2010212AABB")


@pytest.mark.parametrize("cla", [0x84, 0x0C, 0x04, 0xC0, 0x40])
def test_a_class_byte_that_cannot_be_protected_is_refused(cla: int) -> None:
    with pytest.raises(KmsError) as caught:
        check_class(CommandApdu(cla, 0xCA, 0x00, 0x66))
    assert caught.value.code is Code.APDU_INVALID
    check_class(CommandApdu(0x83, 0xCA, 0x00, 0x66))


def test_refusals_have_their_codes() -> None:
    command = CommandApdu(0x80, 0xE2, 0x00, 0x00, bytes(240))
    check_room(command, 240, 15)
    check_marker(bytes(11) + b"\x03", 3, 12)
    check_card_cryptogram(b"\x02" * 8, HANDSHAKE)
    check_challenge(b"\x01" * 8, HANDSHAKE, PARAMETERS)
    check_r_mac(b"\x03" * 8, b"\x03" * 8)
    check_parameters(HANDSHAKE, PARAMETERS, 3, frozenset({0x70}), frozenset({SecurityLevel.C_MAC}))
    refusals: list[tuple[Code, Callable[[], object]]] = [
        (Code.APDU_INVALID, lambda: check_room(command, 240, 16)),
        (Code.CARD_PROTOCOL, lambda: check_marker(bytes(12), 3, 12)),
        (Code.CARD_PROTOCOL, lambda: check_marker(bytes(11) + b"\x03", 3, 13)),
        (Code.CRYPTOGRAM_MISMATCH, lambda: check_card_cryptogram(bytes(8), HANDSHAKE)),
        (Code.CHALLENGE_MISMATCH, lambda: check_challenge(bytes(8), HANDSHAKE, PARAMETERS)),
        (Code.RESPONSE_MAC_MISMATCH, lambda: check_r_mac(b"\x03" * 8, b"")),
        (Code.RESPONSE_MAC_MISMATCH, lambda: check_r_mac(b"\x03" * 8, b"\x03" * 7)),
        (Code.CARD_PROTOCOL, lambda: check_parameters(HANDSHAKE, PARAMETERS, 2, frozenset(), frozenset())),
        (Code.INPUT_INVALID, lambda: check_parameters(HANDSHAKE, PARAMETERS, 3, frozenset(), frozenset())),
        (Code.INPUT_INVALID, lambda: check_parameters(HANDSHAKE, PARAMETERS, 3, frozenset({0x70}), frozenset())),
    ]
    for code, call in refusals:
        with pytest.raises(KmsError) as caught:
            call()
        assert caught.value.code is code


@pytest.mark.parametrize(
    ("sw", "error"), [(0x9000, False), (0x6283, False), (0x6310, False), (0x6A88, True), (0x6982, True), (0x9001, True)]
)
def test_an_error_is_neither_done_nor_a_warning(sw: int, error: bool) -> None:
    assert is_error(sw) is error
