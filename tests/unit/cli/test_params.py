import click
import pytest

from kms.cli.params import AID, FILLED, FINGERPRINT, IDENTITY, HexType, build_unknown_card
from kms.errors import Code


@pytest.mark.parametrize("text", ["A000000151", "a0 00 00 01 51", "A0:00:00:01:51"])
def test_hex_in_the_ways_people_write_it(text: str) -> None:
    assert AID.convert(text, None, None) == bytes.fromhex("A000000151")


def test_bytes_stay_bytes() -> None:
    assert IDENTITY.convert(b"\x01", None, None) == b"\x01"


@pytest.mark.parametrize(
    ("kind", "text", "what"),
    [
        (AID, "A0000001", "4 bytes; 5 to 16"),
        (AID, "A0" * 17, "17 bytes; 5 to 16"),
        (AID, "A0000001G1", "not hex"),
        (IDENTITY, "", "0 bytes; 1 to 32"),
        (FINGERPRINT, "AB" * 20, "20 bytes; 32 are needed"),
    ],
)
def test_what_does_not_fit_is_wrong_usage(kind: HexType, text: str, what: str) -> None:
    with pytest.raises(click.UsageError) as error:
        kind.convert(text, None, None)
    assert what in error.value.message


def test_a_reason_says_something() -> None:
    assert FILLED.convert(" lost ", None, None) == "lost"
    with pytest.raises(click.UsageError):
        FILLED.convert(" \t", None, None)


def test_the_error_for_an_unknown_card() -> None:
    assert build_unknown_card().code is Code.CARD_UNKNOWN
