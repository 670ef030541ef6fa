import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.apdu import CommandApdu, ResponseApdu, find_response, parse_command, parse_response
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse


@pytest.mark.parametrize(
    ("command", "encoded"),
    [
        (CommandApdu(0x80, 0xF0, 0x40, 0x0F), "80F0400F"),
        (CommandApdu(0x80, 0xCA, 0x00, 0xE0, le=256), "80CA00E000"),
        (CommandApdu(0x80, 0xCA, 0x00, 0xE0, le=0), "80CA00E000"),
        (CommandApdu(0x80, 0xCA, 0x00, 0xE0, le=255), "80CA00E0FF"),
        (CommandApdu(0x80, 0xE2, 0x88, 0x00, b"\x01\x02"), "80E28800020102"),
        (CommandApdu(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 256), "80F28002024F0000"),
        (CommandApdu(0x80, 0xE2, 0x88, 0x00, bytes(255)), "80E28800FF" + "00" * 255),
    ],
)
def test_the_four_cases_are_encoded_and_read_back(command: CommandApdu, encoded: str) -> None:
    assert command.to_bytes().hex().upper() == encoded
    assert parse_command(bytes.fromhex(encoded)) == command


@pytest.mark.parametrize(
    ("header", "length", "le"),
    [
        ((0x100, 0xE2, 0, 0), 0, None),
        ((0x80, -1, 0, 0), 0, None),
        ((0x80, 0xE2, 0x100, 0), 0, None),
        ((0x80, 0xE2, 0, 0x100), 0, None),
        ((0xFF, 0xE2, 0, 0), 0, None),
        ((0x80, 0x61, 0, 0), 0, None),
        ((0x80, 0x90, 0, 0), 0, None),
        ((0x80, 0xE2, 0, 0), 256, None),
        ((0x80, 0xE2, 0, 0), 0, 257),
        ((0x80, 0xE2, 0, 0), 0, -1),
    ],
)
def test_an_impossible_command_is_refused(header: tuple[int, int, int, int], length: int, le: int | None) -> None:
    with pytest.raises(KmsError) as refused:
        CommandApdu(*header, bytes(length), le)
    assert refused.value.code is Code.APDU_INVALID


@pytest.mark.parametrize(
    "encoded", ["", "80E288", "80E28800000000", "80E288000001AA", "80E2880003AABB", "80E2880001AABBCC"]
)
def test_broken_commands_are_refused(encoded: str) -> None:
    with pytest.raises(KmsError) as refused:
        parse_command(bytes.fromhex(encoded))
    assert refused.value.code is Code.APDU_INVALID


def test_data_is_not_printed() -> None:
    assert "SECRET" not in repr(CommandApdu(0x80, 0xE2, 0, 0, b"SECRET"))
    assert "SECRET" not in repr(ResponseApdu(b"SECRET", 0x9000))


def test_a_response_is_split_into_data_and_status_word() -> None:
    response = parse_response(bytes.fromhex("00AA9000"))

    assert (response.data, response.sw) == (b"\x00\xaa", 0x9000)


def test_a_response_that_the_terminal_does_not_have_is_a_case_of_its_own() -> None:
    assert find_response(b"") is None
    with pytest.raises(KmsError, match="outcome is unknown") as refused:
        parse_response(b"")
    assert refused.value.code is Code.CARD_PROTOCOL


@pytest.mark.parametrize("encoded", ["90", "0000", "6000", "7000", "AABBA000", "FFFF"])
def test_bytes_without_a_status_word_are_no_response(encoded: str) -> None:
    with pytest.raises(KmsError) as refused:
        find_response(bytes.fromhex(encoded))
    assert refused.value.code is Code.APDU_INVALID


@given(st.binary(max_size=270))
def test_any_bytes_are_one_command_or_refused(data: bytes) -> None:
    command = read_or_refuse(parse_command, data, Code.APDU_INVALID)
    assert command is None or command.to_bytes() == data


@given(st.binary(max_size=270))
def test_any_bytes_are_one_response_or_refused(data: bytes) -> None:
    response = read_or_refuse(parse_response, data, Code.APDU_INVALID if data else Code.CARD_PROTOCOL)
    assert response is None or response.to_bytes() == data
