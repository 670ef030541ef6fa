import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.commands import (
    KeyDataField,
    build_key_data,
    build_key_data_field,
    build_put_key,
    check_put_key_response,
    get_key_type_code,
    parse_key_block,
    parse_key_data_fields,
)
from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse

# Plain PUT KEY commands of recorded exchanges: GlobalPlatformPro (DES; AES-256, long form), pySim (AES-128, short).
DES = (
    "80D80081430280107365578F7DA92CE3887EA292A9A2E80C03A4B7D68010425741E72F945C8543385AFE154B2791039DCB14"
    "8010E8B9255EB8BF1C6715C0F1F3A8F5166103E9334700"
)
AES_LONG = (
    "80D801817601882120C62E5212589B9EAF19AE940D03C3B7C2F91D70891B0407F29AF91B8620B7235F031EF67B"
    "882120C814E3458598910A3366E9C7BAEEFA9BF3F54E91F1DD5771BFBE97E7494A773003997BA0"
    "88212079F5ECFF0CE8E1A75D3B57985CC420990E67B14AB21314C665BD5248B6DBA27A03B1770000"
)
AES_SHORT = (
    "80D8308143308810C62E5212589B9EAF19AE940D03C3B7C203F2A8DF8810C814E3458598910A3366E9C7BAEEFA9B03D7D0E4"
    "881079F5ECFF0CE8E1A75D3B57985CC4209903DCC3AC00"
)


@pytest.mark.parametrize(
    ("recorded", "key_type", "form", "existing_kvn", "new_kvn"),
    [
        (DES, KeyType.DES2, "long", None, 0x02),
        (AES_LONG, KeyType.AES256, "long", 0x01, 0x01),
        (AES_SHORT, KeyType.AES128, "short", 0x30, 0x30),
    ],
)
def test_recorded_commands_are_built_byte_for_byte(
    recorded: str, key_type: KeyType, form: str, existing_kvn: int | None, new_kvn: int
) -> None:
    encoded = bytes.fromhex(recorded)
    wrapped = [(parse_key_block(key.block)[0], key.kcv) for key in parse_key_data_fields(encoded[6:-1])]

    fields = [build_key_data(key_type, block, kcv, aes_block_form=form) for block, kcv in wrapped]

    assert len(fields) == 3
    assert build_put_key(existing_kvn, new_kvn, fields).to_bytes() == encoded


def test_both_forms_of_an_aes_block_are_told_apart() -> None:
    assert parse_key_block(bytes(16)) == (bytes(16), None)
    assert parse_key_block(b"\x10" + bytes(16)) == (bytes(16), 16)
    assert parse_key_block(b"\x18" + bytes(32)) == (bytes(32), 24)
    for block in (b"", b"\x10", b"\x00" + bytes(16), b"\x11" + bytes(16), bytes(15)):
        with pytest.raises(KmsError):
            parse_key_block(block)


def test_a_padded_key_always_says_its_length() -> None:
    field = build_key_data(KeyType.AES192, bytes(32), b"KCV", aes_block_form="short")
    assert build_key_data_field(field) == b"\x88\x21\x18" + bytes(32) + b"\x03KCV"

    des = build_key_data(KeyType.DES3, bytes(32), b"KCV")
    assert build_key_data_field(des) == b"\x80\x21\x18" + bytes(32) + b"\x03KCV"


def test_key_types_have_their_codes() -> None:
    assert [get_key_type_code(key_type) for key_type in KeyType] == [0x80, 0x80, 0x88, 0x88, 0x88]


@pytest.mark.parametrize(
    ("key_type", "length", "kcv", "form"),
    [
        (KeyType.DES2, 8, b"KCV", "long"),
        (KeyType.DES2, 17, b"KCV", "long"),
        (KeyType.AES256, 16, b"KCV", "long"),
        (KeyType.AES128, 16, b"", "long"),
        (KeyType.AES128, 16, b"KC", "long"),
        (KeyType.AES128, 16, b"KCV", "wide"),
    ],
)
def test_a_key_that_cannot_be_is_refused(key_type: KeyType, length: int, kcv: bytes, form: str) -> None:
    with pytest.raises(KmsError) as refused:
        build_key_data(key_type, bytes(length), kcv, aes_block_form=form)
    assert refused.value.code is Code.APDU_INVALID


@pytest.mark.parametrize(
    ("length", "encoded"), [(0x7F, "7F"), (0x80, "8180"), (0x81, "8181"), (0xFF, "81FF"), (0x100, "820100")]
)
def test_every_length_form_is_written_and_read(length: int, encoded: str) -> None:
    field = KeyDataField(0xA1, bytes(length), b"")
    data = build_key_data_field(field)

    assert data.startswith(bytes.fromhex("A1" + encoded) + bytes(3))
    assert parse_key_data_fields(data) == (field,)


def test_a_length_of_128_may_be_written_80() -> None:
    field = KeyDataField(0xA1, bytes(128), b"")
    data = build_key_data_field(field, bare_128=True)

    assert data == b"\xa1\x80" + bytes(128) + b"\x00"
    assert parse_key_data_fields(data) == (field,)
    assert build_key_data_field(KeyDataField(0x80, bytes(16), b""), bare_128=True).startswith(b"\x80\x10")


def test_the_extended_format_carries_usage_and_access() -> None:
    field = KeyDataField(0xFF88, bytes(16), b"KCV", usage=b"\x38", access=b"\x00")
    data = build_key_data_field(field)

    assert data == b"\xff\x88\x10" + bytes(16) + b"\x03KCV" + b"\x01\x38" + b"\x01\x00"
    assert parse_key_data_fields(data) == (field,)


@pytest.mark.parametrize(
    "encoded",
    [
        "88",
        "8801",
        "880101",
        "88010103AA",
        "8800",
        "FF",
        "FF8801010000",
        "8883000001AA00",
        "8884",
        "8810AA",
        "880001AA",
    ],
)
def test_broken_key_data_are_refused(encoded: str) -> None:
    with pytest.raises(KmsError) as refused:
        parse_key_data_fields(bytes.fromhex(encoded))
    assert refused.value.code is Code.APDU_INVALID


FIELD = KeyDataField(0x80, bytes(16), b"KCV")


def test_one_key_and_chained_commands_say_so() -> None:
    command = build_put_key(0x20, 0x21, [FIELD], first_kid=2, more=True)
    assert (command.p1, command.p2) == (0xA0, 0x02)


@pytest.mark.parametrize(
    ("existing_kvn", "new_kvn", "fields", "first_kid"),
    [
        (0xFF, 0x20, [FIELD], 1),
        (0x00, 0x20, [FIELD], 1),
        (None, 0x00, [FIELD], 1),
        (None, 0x80, [FIELD], 1),
        (None, 0xFF, [FIELD], 1),
        (None, 0x20, [], 1),
        (None, 0x20, [FIELD, FIELD], 0x7F),
        (None, 0x20, [FIELD], -1),
        (None, 0x20, [FIELD] * 13, 1),
    ],
)
def test_a_command_that_no_card_can_take_is_refused(
    existing_kvn: int | None, new_kvn: int, fields: list[KeyDataField], first_kid: int
) -> None:
    with pytest.raises(KmsError) as refused:
        build_put_key(existing_kvn, new_kvn, fields, first_kid)
    assert refused.value.code is Code.APDU_INVALID


KCVS = (bytes.fromhex("A4B7D6"), bytes.fromhex("9DCB14"), bytes.fromhex("E93347"))


def test_the_recorded_answer_is_as_expected() -> None:
    check_put_key_response(bytes.fromhex("02A4B7D69DCB14E93347"), 0x02, KCVS)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ("", "without the key version"),
        ("03A4B7D69DCB14E93347", "key version 03 instead of 02"),
        ("02", "1 bytes instead of 10"),
        ("02A4B7D69DCB14E9334700", "11 bytes instead of 10"),
        ("02A4B7D79DCB14E93347", "check value for key 1"),
        ("02A4B7D69DCB14E93346", "check value for key 3"),
    ],
)
def test_an_answer_that_differs_is_named(encoded: str, words: str) -> None:
    with pytest.raises(KmsError, match=words) as refused:
        check_put_key_response(bytes.fromhex(encoded), 0x02, KCVS)
    assert refused.value.code is Code.CARD_PROTOCOL


def test_wrapped_keys_are_not_printed() -> None:
    assert "SECRET" not in repr(KeyDataField(0x80, b"SECRETSECRETSECR", b"KCV"))


@given(st.binary(max_size=80))
def test_any_key_data_are_read_or_refused(data: bytes) -> None:
    fields = read_or_refuse(parse_key_data_fields, data, Code.APDU_INVALID)
    if fields is not None:
        assert parse_key_data_fields(b"".join(build_key_data_field(field) for field in fields)) == fields


@given(st.sampled_from(list(KeyType)), st.booleans(), st.booleans())
def test_keys_are_read_back_in_both_forms(key_type: KeyType, long: bool, padded: bool) -> None:
    wrapped = bytes(range(-(-key_type.length // 16) * 16 if padded else key_type.length))
    field = build_key_data(key_type, wrapped, b"KCV", aes_block_form="long" if long else "short")

    (read,) = parse_key_data_fields(build_key_data_field(field))

    assert parse_key_block(read.block)[0] == wrapped
    assert parse_key_block(read.block)[1] in (None, key_type.length)
