import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.commands import (
    DataTag,
    KeyInformation,
    build_get_data,
    parse_card_recognition,
    parse_cplc,
    parse_data_object,
    parse_key_information,
    parse_sequence_counter,
)
from kms.card.tlv import build_tlv
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse

CPLC = bytes.fromhex(
    "4790 5168 4791 2081 3B00 0012 48123456 0102 4811 0013 4812 0014 0304 0015 05060708 0910 0016 11121314"
)


def test_data_objects_are_asked_by_tag() -> None:
    assert build_get_data(DataTag.KEY_INFORMATION).to_bytes().hex().upper() == "80CA00E000"
    assert build_get_data(DataTag.CPLC).to_bytes().hex().upper() == "80CA9F7F00"
    for tag in (0, 0x10000):
        with pytest.raises(KmsError):
            build_get_data(tag)


def test_only_the_object_asked_for_is_taken() -> None:
    assert parse_data_object(bytes.fromhex("4203123456"), DataTag.IIN) == bytes.fromhex("123456")
    with pytest.raises(KmsError, match="GET DATA 42 was answered with an object 45") as refused:
        parse_data_object(bytes.fromhex("4503123456"), DataTag.IIN)
    assert refused.value.code is Code.CARD_PROTOCOL


def test_recorded_key_information_is_read() -> None:
    keys = parse_key_information(bytes.fromhex("E012C00401FF8010C00402FF8010C00403FF8010"))

    assert keys == tuple(KeyInformation(kid, 0xFF, ((0x80, 0x10),)) for kid in (1, 2, 3))


def test_keys_of_several_components_and_in_extended_form_are_read() -> None:
    keys = parse_key_information(
        bytes.fromhex("E014" + "C006" + "0173A180A003" + "C00A" + "0230" + "FF880020" + "0138" + "0100")
    )

    assert keys == (
        KeyInformation(0x01, 0x73, ((0xA1, 0x80), (0xA0, 0x03))),
        KeyInformation(0x02, 0x30, ((0xFF88, 0x20),), usage=b"\x38", access=b"\x00"),
    )


def test_a_domain_without_keys_has_an_empty_template() -> None:
    assert parse_key_information(bytes.fromhex("E000")) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "01",
        "0120",
        "012080",
        "01208010FF",
        "01208010FF10",
        "0120FF8800",
        "0120FF880010",
        "0120FF88001001",
        "0120FF880010013802",
    ],
)
def test_a_broken_entry_is_named_by_its_number(entry: str) -> None:
    good = bytes.fromhex("C00401208010")
    data = build_tlv(0xE0, good + build_tlv(0xC0, bytes.fromhex(entry)))

    with pytest.raises(KmsError, match="entry 2 of the key information") as refused:
        parse_key_information(data)
    assert refused.value.code is Code.CARD_PROTOCOL


def test_other_objects_are_no_key_information() -> None:
    with pytest.raises(KmsError, match="C1 instead of C0"):
        parse_key_information(bytes.fromhex("E006C10401208010"))


def recognition(*oids: str) -> bytes:
    content = bytes.fromhex("06072A864886FC6B01600C060A2A864886FC6B02020201630906072A864886FC6B03")
    return build_tlv(
        0x66, build_tlv(0x73, content + b"".join(build_tlv(0x64, build_tlv(0x06, bytes.fromhex(oid))) for oid in oids))
    )


def test_the_protocols_of_the_card_are_read() -> None:
    protocols = parse_card_recognition(recognition("2A864886FC6B040255", "2A864886FC6B040370"))

    assert protocols == ((2, 0x55), (3, 0x70))
    assert (protocols[0].scp, protocols[0].i) == (2, 0x55)


def test_an_i_of_more_than_seven_bits_is_read() -> None:
    assert parse_card_recognition(recognition("2A864886FC6B04028155")) == ((2, 0xD5),)


def test_a_card_may_name_no_protocol() -> None:
    assert parse_card_recognition(recognition()) == ()


@pytest.mark.parametrize(
    "oid", ["2A864886FC6B0402", "2A864886FC6B04025500", "2A864886FC6B030255", "2A864886FC6B0402D5", ""]
)
def test_an_unknown_protocol_name_is_refused(oid: str) -> None:
    with pytest.raises(KmsError) as refused:
        parse_card_recognition(recognition(oid))
    assert refused.value.code is Code.CARD_PROTOCOL


def test_the_sequence_counter_is_read() -> None:
    assert parse_sequence_counter(bytes.fromhex("C1020102")) == 0x0102
    assert parse_sequence_counter(bytes.fromhex("C103010203")) == 0x010203
    for encoded in ("C10101", "C100", "C10400000001"):
        with pytest.raises(KmsError, match="sequence counter has"):
            parse_sequence_counter(bytes.fromhex(encoded))


def test_production_data_are_read_with_and_without_their_tag() -> None:
    cplc = parse_cplc(bytes.fromhex("9F7F2A") + CPLC)

    assert parse_cplc(CPLC) == cplc
    assert cplc.ic_fabricator.hex() == "4790"
    assert cplc.ic_serial_number.hex() == "48123456"
    assert cplc.ic_batch_identifier.hex() == "0102"
    assert cplc.ic_pre_personalization_equipment.hex() == "05060708"
    assert cplc.ic_personalization_equipment.hex() == "11121314"
    with pytest.raises(KmsError, match="41 bytes instead of 42"):
        parse_cplc(bytes.fromhex("9F7F29") + CPLC[:-1])


@given(st.binary(max_size=60))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    wrapped_entry = build_tlv(0xE0, build_tlv(0xC0, data))
    wrapped_oid = build_tlv(
        0x66, build_tlv(0x73, build_tlv(0x64, build_tlv(0x06, b"\x2a\x86\x48\x86\xfc\x6b\x04" + data)))
    )
    for candidate in (data, wrapped_entry, wrapped_oid):
        for parse in (parse_key_information, parse_card_recognition, parse_sequence_counter, parse_cplc):
            read_or_refuse(parse, candidate, Code.TLV_INVALID, Code.CARD_PROTOCOL)
