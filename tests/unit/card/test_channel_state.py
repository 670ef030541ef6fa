"""Security levels say what they protect, and levels that do not exist cannot be named."""

import pytest

from kms.card.channel_state import SecurityLevel


@pytest.mark.parametrize(
    ("value", "c_mac", "c_decryption", "r_mac", "r_encryption"),
    [
        (0x00, False, False, False, False),
        (0x01, True, False, False, False),
        (0x03, True, True, False, False),
        (0x10, False, False, True, False),
        (0x11, True, False, True, False),
        (0x13, True, True, True, False),
        (0x33, True, True, True, True),
    ],
)
def test_a_level_says_what_it_protects(
    value: int, c_mac: bool, c_decryption: bool, r_mac: bool, r_encryption: bool
) -> None:
    level = SecurityLevel(value)
    assert level.has_c_mac is c_mac
    assert level.has_c_decryption is c_decryption
    assert level.has_r_mac is r_mac
    assert level.has_r_encryption is r_encryption


@pytest.mark.parametrize("value", [0x02, 0x12, 0x20, 0x30, 0x31, 0x80])
def test_a_level_that_does_not_exist_cannot_be_named(value: int) -> None:
    with pytest.raises(ValueError, match="not a valid SecurityLevel"):
        SecurityLevel(value)
