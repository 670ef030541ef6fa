import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.commands import build_select, parse_select_response
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse

ISD = bytes.fromhex("A000000151000000")


def test_an_application_is_selected_by_aid() -> None:
    assert build_select(ISD).to_bytes().hex().upper() == "00A4040008A00000015100000000"
    assert build_select(ISD, next_occurrence=True).p2 == 0x02


def test_no_aid_selects_the_default_application() -> None:
    assert build_select().to_bytes().hex().upper() == "00A4040000"


@pytest.mark.parametrize("length", [1, 4, 17])
def test_an_impossible_aid_is_refused(length: int) -> None:
    with pytest.raises(KmsError) as refused:
        build_select(bytes(length))
    assert refused.value.code is Code.APDU_INVALID


def test_the_answer_names_the_selected_aid() -> None:
    response = parse_select_response(bytes.fromhex("6F108408A000000151000000A5049F6501FF"))

    assert (response.aid, response.max_command_data) == (ISD, 255)


def test_the_proprietary_part_may_be_missing_or_silent() -> None:
    for encoded in ("6F0A8408A000000151000000", "6F0C8408A000000151000000A500"):
        response = parse_select_response(bytes.fromhex(encoded))
        assert (response.aid, response.max_command_data) == (ISD, None)


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        ("", Code.TLV_INVALID),
        ("610A8408A000000151000000", Code.CARD_PROTOCOL),
        ("6F02A500", Code.TLV_INVALID),
        ("6F038401A0", Code.CARD_PROTOCOL),
        ("6F0C8408A000000151000000A501", Code.TLV_INVALID),
    ],
)
def test_another_answer_is_refused(encoded: str, code: Code) -> None:
    with pytest.raises(KmsError) as refused:
        parse_select_response(bytes.fromhex(encoded))
    assert refused.value.code is code


@given(st.binary(max_size=40))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"\x6f" + bytes([len(data)]) + data):
        read_or_refuse(parse_select_response, candidate, Code.TLV_INVALID, Code.CARD_PROTOCOL)
