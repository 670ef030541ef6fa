import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.commands import (
    Dgi,
    InitialKey,
    build_dgi,
    build_key_dgis,
    build_store_data_blocks,
    get_key_usage,
    parse_dgis,
)
from kms.card.keys import KeyRole, KeyType
from kms.errors import Code, KmsError
from tests.unit.card.fuzz import read_or_refuse


def make_keys(key_type: KeyType, wrapped_length: int) -> list[InitialKey]:
    return [
        InitialKey(
            role.kid, 0x20, key_type, get_key_usage(role), bytes([role.kid]) * wrapped_length, b"KC" + bytes([role.kid])
        )
        for role in KeyRole
    ]


def test_a_key_set_becomes_attributes_and_one_value_per_key() -> None:
    attributes, *values = build_key_dgis(make_keys(KeyType.DES2, 16))

    assert (attributes.tag, attributes.is_encrypted) == (0x00B9, False)
    assert attributes.value.hex().upper() == (
        "B917" + "950138" + "960100" + "800180" + "810110" + "820101" + "830120" + "84034B4301"
        "B917" + "950134" + "960100" + "800180" + "810110" + "820102" + "830120" + "84034B4302"
        "B917" + "9501C8" + "960100" + "800180" + "810110" + "820103" + "830120" + "84034B4303"
    )
    assert [(dgi.tag, dgi.value, dgi.is_encrypted) for dgi in values] == [
        (0x8113, bytes([kid]) * 16, True) for kid in (1, 2, 3)
    ]


def test_a_des_set_fits_one_command_of_mixed_content() -> None:
    (command,) = build_store_data_blocks(build_key_dgis(make_keys(KeyType.DES2, 16)))

    assert (command.cla, command.ins, command.p1, command.p2, command.le) == (0x80, 0xE2, 0xA8, 0x00, None)
    assert [tag for tag, _ in parse_dgis(command.data)] == [0x00B9, 0x8113, 0x8113, 0x8113]
    assert len(command.data) == 135


def test_an_aes_256_set_fits_one_command_too() -> None:
    keys = make_keys(KeyType.AES256, 32)
    (command,) = build_store_data_blocks(build_key_dgis(keys))
    assert len(command.data) == 183


def test_groups_are_kept_whole_across_numbered_commands() -> None:
    commands = build_store_data_blocks(build_key_dgis(make_keys(KeyType.AES256, 32)), max_data=80)

    assert [(command.p1, command.p2) for command in commands] == [(0x08, 0), (0x68, 1), (0xE8, 2)]
    assert [[tag for tag, _ in parse_dgis(command.data)] for command in commands] == [
        [0x00B9],
        [0x8113, 0x8113],
        [0x8113],
    ]


def test_a_group_longer_than_a_command_is_cut() -> None:
    commands = build_store_data_blocks([Dgi(0x0070, bytes(300), is_encrypted=False)], max_data=200)

    assert [(command.p1, command.p2, len(command.data)) for command in commands] == [(0x08, 0, 200), (0x88, 1, 105)]
    assert commands[0].data.startswith(bytes.fromhex("0070FF012C"))
    assert parse_dgis(commands[0].data + commands[1].data) == ((0x0070, bytes(300)),)


@pytest.mark.parametrize(
    ("dgis", "max_data"),
    [([], 239), ([Dgi(1, bytes(300), is_encrypted=False)], 1), ([Dgi(1, b"", is_encrypted=False)], 0)],
)
def test_data_that_cannot_be_sent_are_refused(dgis: list[Dgi], max_data: int) -> None:
    with pytest.raises(KmsError) as refused:
        build_store_data_blocks(dgis, max_data=max_data)
    assert refused.value.code is Code.APDU_INVALID


@pytest.mark.parametrize(("tag", "length"), [(0x10000, 1), (-1, 1), (1, 0x10000)])
def test_an_impossible_group_is_refused(tag: int, length: int) -> None:
    with pytest.raises(KmsError):
        build_dgi(Dgi(tag, bytes(length), is_encrypted=False))


@pytest.mark.parametrize(
    ("kid", "kvn", "usage", "length", "kcv"),
    [
        (0x80, 0x20, 0x38, 16, b"KCV"),
        (1, 0x00, 0x38, 16, b"KCV"),
        (1, 0xFF, 0x38, 16, b"KCV"),
        (1, 0x20, 0x10000, 16, b"KCV"),
        (1, 0x20, 0x38, 8, b"KCV"),
        (1, 0x20, 0x38, 20, b"KCV"),
        (1, 0x20, 0x38, 16, b""),
    ],
)
def test_an_initial_key_that_cannot_be_is_refused(kid: int, kvn: int, usage: int, length: int, kcv: bytes) -> None:
    with pytest.raises(KmsError) as refused:
        InitialKey(kid, kvn, KeyType.DES2, usage, bytes(length), kcv)
    assert refused.value.code is Code.APDU_INVALID


def test_a_set_without_keys_is_refused() -> None:
    with pytest.raises(KmsError, match="without a key"):
        build_key_dgis([])


def test_a_usage_of_two_bytes_is_written_so() -> None:
    key = InitialKey(1, 0x20, KeyType.AES128, 0x3880, bytes(16), b"KCV")
    assert build_key_dgis([key])[0].value.startswith(bytes.fromhex("B91895023880"))


def test_wrapped_keys_are_not_printed() -> None:
    key = InitialKey(1, 0x20, KeyType.AES128, 0x38, b"SECRETSECRETSECR", b"KCV")
    assert "SECRET" not in repr(key)
    assert "SECRET" not in repr(build_key_dgis([key]))


@given(st.binary(max_size=60))
def test_any_groups_are_read_or_refused(data: bytes) -> None:
    dgis = read_or_refuse(parse_dgis, data, Code.APDU_INVALID)
    if dgis is not None:
        rebuilt = b"".join(build_dgi(Dgi(tag, value, is_encrypted=False)) for tag, value in dgis)
        assert parse_dgis(rebuilt) == dgis


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=6), st.integers(min_value=8, max_value=255))
def test_the_commands_together_carry_all_groups(values: list[bytes], max_data: int) -> None:
    commands = build_store_data_blocks([Dgi(0x8113, value, is_encrypted=True) for value in values], max_data=max_data)

    assert parse_dgis(b"".join(command.data for command in commands)) == tuple((0x8113, value) for value in values)
    assert all(len(command.data) <= max_data for command in commands)
    assert [command.p2 for command in commands] == list(range(len(commands)))
    assert [bool(command.p1 & 0x80) for command in commands] == [False] * (len(commands) - 1) + [True]
