import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.tlv import Tlv, build_length, build_tlv, find_tlv, get_tlv, parse_tlv, parse_tlvs
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse

TAGS = st.sampled_from([0x4F, 0x84, 0xC5, 0xE3, 0x5F20, 0x9F70, 0x9F01, 0xBF3E, 0x7F21, 0xDFFF7F])


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, "00"),
        (0x7F, "7F"),
        (0x80, "8180"),
        (0xFF, "81FF"),
        (0x100, "820100"),
        (0xFFFF, "82FFFF"),
        (0x10000, "83010000"),
    ],
)
def test_a_length_takes_the_fewest_bytes(length: int, encoded: str) -> None:
    assert build_length(length).hex().upper() == encoded


@pytest.mark.parametrize("length", [-1, 0x1000000])
def test_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(KmsError) as refused:
        build_length(length)
    assert refused.value.code is Code.TLV_INVALID


def test_the_answer_to_select_is_read() -> None:
    fci = parse_tlv(bytes.fromhex("6F108408A000000151000000A5049F6501FF"))

    assert fci.tag == 0x6F
    assert fci.is_constructed
    aid, proprietary = fci.children()
    assert (aid.tag, aid.value.hex(), aid.is_constructed) == (0x84, "a000000151000000", False)
    assert proprietary.children() == (Tlv(0x9F65, b"\xff"),)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ("5F", "tag at offset 0 is cut off"),
        ("5F8120", "longer than three bytes|length at offset 3 is missing"),
        ("1F8081", "leading zero"),
        ("5F808001", "leading zero"),
        ("5F81828301", "longer than three bytes"),
        ("0000", "offset 0 is 00"),
        ("4F", "length at offset 1 is missing"),
        ("4F0011", "length at offset 3 is missing"),
        ("4F80", "length at offset 1 has a form"),
        ("4F8400000001AA", "length at offset 1 has a form"),
        ("4F81", "length at offset 1 is cut off"),
        ("4F8200", "length at offset 1 is cut off"),
        ("4F817F" + "00" * 0x7F, "more bytes than it needs"),
        ("4F8200FF" + "00" * 0xFF, "more bytes than it needs"),
        ("4F830000FF" + "00" * 0xFF, "more bytes than it needs"),
        ("4F02AA", "announces 2 bytes; 1 are there"),
        ("4F01AA00", "offset 3 is 00"),
    ],
)
def test_broken_encodings_are_refused_with_their_offset(encoded: str, words: str) -> None:
    with pytest.raises(KmsError, match=words) as refused:
        parse_tlvs(bytes.fromhex(encoded))
    assert refused.value.code is Code.TLV_INVALID


def test_exactly_one_object_is_taken_where_one_is_expected() -> None:
    for encoded in ("", "4F01AA5001BB"):
        with pytest.raises(KmsError, match="one data object was expected"):
            parse_tlv(bytes.fromhex(encoded))


def test_objects_are_found_by_tag() -> None:
    tlvs = parse_tlvs(bytes.fromhex("4F01AA5001BB4F01CC"))

    assert get_tlv(tlvs, 0x4F).value == b"\xaa"
    assert find_tlv(tlvs, 0x51) is None
    with pytest.raises(KmsError, match="data object 9F70 is missing"):
        get_tlv(tlvs, 0x9F70)


@pytest.mark.parametrize("tag", [-1, 0, 0x00FF, 0x4F4F, 0x1F, 0x9F80, 0x9F8001, 0x9FFFFF, 0x01000000])
def test_an_impossible_tag_is_refused(tag: int) -> None:
    with pytest.raises(KmsError) as refused:
        build_tlv(tag, b"")
    assert refused.value.code is Code.TLV_INVALID


def test_content_is_not_printed() -> None:
    assert "SECRET" not in repr(Tlv(0x4F, b"SECRET"))
    with pytest.raises(KmsError) as refused:
        parse_tlvs(b"\x4f\x20SECRET")
    assert "SECRET" not in str(refused.value)


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300))))
def test_what_is_built_is_read_back(objects: list[tuple[int, bytes]]) -> None:
    tlvs = tuple(Tlv(tag, value) for tag, value in objects)
    assert parse_tlvs(b"".join(tlv.to_bytes() for tlv in tlvs)) == tlvs


@given(st.binary(max_size=64))
def test_any_bytes_are_read_in_one_way_or_refused(data: bytes) -> None:
    tlvs = read_or_refuse(parse_tlvs, data, Code.TLV_INVALID)
    assert tlvs is None or b"".join(tlv.to_bytes() for tlv in tlvs) == data
