import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.commands import (
    DomainLifeCycle,
    RegistryEntry,
    StatusScope,
    build_get_status,
    build_set_status,
    parse_get_status,
)
from kms.card.tlv import build_tlv
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse

AID = bytes.fromhex("A000000151000001")


def test_the_registry_is_asked_in_tlv_format() -> None:
    assert build_get_status(StatusScope.ISSUER).to_bytes().hex().upper() == "80F28002024F0000"
    command = build_get_status(StatusScope.APPLICATIONS, AID, next_occurrence=True)
    assert command.to_bytes().hex().upper() == "80F240030A4F08A00000015100000100"
    with pytest.raises(KmsError):
        build_get_status(StatusScope.ISSUER, bytes(17))


def test_a_recorded_entry_is_read() -> None:
    (entry,) = parse_get_status(bytes.fromhex("E3134F08A0000001510000009F700101C5039EFE80"))

    assert entry == RegistryEntry(bytes.fromhex("A000000151000000"), 0x01, bytes.fromhex("9EFE80"))


def test_an_entry_tells_its_domain_load_file_and_modules() -> None:
    ssd_entry = "4F08A000000151000001" + "9F70020F00" + "C50180" + "C407A0000001515350" + "CC08A000000151000000"
    load_file_entry = "4F07A0000001515350" + "9F700101" + "8409A00000015153504101"
    data = b"".join(build_tlv(0xE3, bytes.fromhex(entry)) for entry in (ssd_entry, load_file_entry))

    ssd, load_file = parse_get_status(data)

    assert ssd.life_cycle == DomainLifeCycle.PERSONALIZED
    assert ssd.associated_sd == bytes.fromhex("A000000151000000")
    assert ssd.load_file_aid == bytes.fromhex("A0000001515350")
    assert load_file.privileges == b""
    assert load_file.modules == (bytes.fromhex("A00000015153504101"),)


def test_the_old_format_is_understood() -> None:
    data = b"\x08" + AID + b"\x07\x80" + b"\x08" + AID + b"\x0f\x80"

    assert parse_get_status(data) == (RegistryEntry(AID, 0x07, b"\x80"), RegistryEntry(AID, 0x0F, b"\x80"))


def test_no_bytes_are_no_entries() -> None:
    assert parse_get_status(b"") == ()


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        ("E2134F08A0000001510000009F700101C5039EFE80", Code.CARD_PROTOCOL),
        ("E3064F04A0000001", Code.TLV_INVALID),
        ("E3049F700101", Code.TLV_INVALID),
        ("E30D4F05A0000001519F7003010203", Code.CARD_PROTOCOL),
        ("08A00000015100000107", Code.CARD_PROTOCOL),
        ("04A00000010780", Code.CARD_PROTOCOL),
        ("00", Code.CARD_PROTOCOL),
    ],
)
def test_a_broken_answer_is_refused(encoded: str, code: Code) -> None:
    with pytest.raises(KmsError) as refused:
        parse_get_status(bytes.fromhex(encoded))
    assert refused.value.code is code


def test_a_life_cycle_state_is_set() -> None:
    command = build_set_status(StatusScope.APPLICATIONS, DomainLifeCycle.PERSONALIZED, AID)

    assert command.to_bytes().hex().upper() == "80F0400F08A000000151000001"
    with pytest.raises(KmsError):
        build_set_status(StatusScope.LOAD_FILES, DomainLifeCycle.PERSONALIZED, AID)
    with pytest.raises(KmsError):
        build_set_status(StatusScope.APPLICATIONS, DomainLifeCycle.PERSONALIZED, b"")


@given(st.binary(max_size=60))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"\xe3" + bytes([len(data)]) + data):
        read_or_refuse(parse_get_status, candidate, Code.TLV_INVALID, Code.CARD_PROTOCOL)
