"""Key types and roles as the core names them."""

import pytest

from kms.card.keys import KeyRole, KeyType


@pytest.mark.parametrize(
    ("key_type", "length", "is_aes"),
    [
        (KeyType.DES2, 16, False),
        (KeyType.DES3, 24, False),
        (KeyType.AES128, 16, True),
        (KeyType.AES192, 24, True),
        (KeyType.AES256, 32, True),
    ],
)
def test_a_type_knows_its_length_and_algorithm(key_type: KeyType, length: int, is_aes: bool) -> None:
    assert (key_type.length, key_type.is_aes) == (length, is_aes)


def test_roles_have_the_key_identifiers_of_globalplatform() -> None:
    assert {role: role.kid for role in KeyRole} == {KeyRole.ENC: 1, KeyRole.MAC: 2, KeyRole.DEK: 3}
