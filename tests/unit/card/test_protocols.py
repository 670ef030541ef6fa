"""What a card offers is read off what it says, and nothing is added to it."""

import pytest

from kms.card.keys import KeyType
from kms.card.protocols import list_protocols, list_set_types
from kms.errors import Code, KmsError


def recognition(*options: str) -> bytes:
    oids = b"".join(
        bytes([0x64, 2 + 7 + len(bytes.fromhex(option)), 0x06, 7 + len(bytes.fromhex(option))])
        + bytes.fromhex("2A864886FC6B04")
        + bytes.fromhex(option)
        for option in options
    )
    return bytes([0x66, 2 + len(oids), 0x73, len(oids)]) + oids


def information(*entries: str) -> bytes:
    content = b"".join(bytes([0xC0, len(bytes.fromhex(entry))]) + bytes.fromhex(entry) for entry in entries)
    return bytes([0xE0, len(content)]) + content


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ([], {}),
        (["0255"], {2: (0x55,)}),
        (["0370", "0255"], {2: (0x55,), 3: (0x70,)}),
        (["0370", "0310", "0370"], {3: (0x10, 0x70)}),
        # An option from 80 on takes two bytes in an OID; SCP10 is none of ours, and said all the same.
        (["0A02", "048101"], {4: (0x81,), 10: (2,)}),
    ],
)
def test_every_protocol_and_option_that_the_card_names(options: list[str], offered: dict[int, tuple[int, ...]]) -> None:
    assert list_protocols(recognition(*options)) == offered


def test_recognition_data_of_another_form_are_refused() -> None:
    with pytest.raises(KmsError) as caught:
        list_protocols(bytes.fromhex("6602C000"))
    assert caught.value.code is Code.TLV_INVALID


@pytest.mark.parametrize(
    ("component", "key_type"),
    [
        ("8010", KeyType.DES2),
        ("8018", KeyType.DES3),
        ("8810", KeyType.AES128),
        ("8818", KeyType.AES192),
        ("8820", KeyType.AES256),
        ("FF8800200134 0100", KeyType.AES256),
    ],
)
def test_the_type_of_a_set_is_that_of_its_three_keys(component: str, key_type: KeyType) -> None:
    shown = information(*(f"{kid:02X}30{component}" for kid in (1, 2, 3)))
    assert list_set_types(shown) == {0x30: key_type}


@pytest.mark.parametrize(
    "entries",
    [
        ["01308810", "02308810"],
        ["01308810", "02308810", "03308820"],
        ["01308810", "02308810", "03308010"],
        ["0130A103", "0230A103", "0330A103"],
        ["0130A103A080", "0230A103A080", "0330A103A080"],
        ["01708810"],
    ],
    ids=["two keys", "two lengths", "two algorithms", "another algorithm", "a key of two components", "a lone key"],
)
def test_what_is_no_secure_channel_key_set_is_left_out(entries: list[str]) -> None:
    assert list_set_types(information(*entries)) == {}


def test_sets_of_both_algorithms_stand_side_by_side() -> None:
    shown = information(
        *(f"{kid:02X}{kvn}{kind}" for kvn, kind in (("30", "8820"), ("20", "8010")) for kid in (1, 2, 3))
    )
    assert list_set_types(shown) == {0x20: KeyType.DES2, 0x30: KeyType.AES256}
