"""What becomes readable is checked for its length and its check value method (the rest: tests/contract)."""

import pytest
from pkcs11 import Attribute, SecretKey
from pkcs11.types import DeriveMixin

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.readable import read_check_value, read_zero_block


class DerivedSecret(SecretKey):
    destroyed = False

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __getitem__(self, key: Attribute) -> bytes:
        assert key is Attribute.VALUE
        return self.value

    def destroy(self) -> None:
        self.destroyed = True


class Parent(DeriveMixin, SecretKey):
    """A deriving key whose token answers with `answer`."""

    def __init__(self, answer: bytes) -> None:
        self.derived = DerivedSecret(answer)

    def derive_key(self, *_arguments: object, **_options: object) -> DerivedSecret:
        return self.derived


@pytest.mark.parametrize(
    ("key_type", "method"),
    [(KeyType.DES2, KcvMethod.AES_GP), (KeyType.DES3, KcvMethod.AES_CMAC), (KeyType.AES128, KcvMethod.DES_ZERO)],
)
def test_a_method_of_another_algorithm_is_refused(key_type: KeyType, method: KcvMethod) -> None:
    with pytest.raises(KmsError) as failure:
        read_check_value(Parent(bytes(16)), key_type, method)
    assert failure.value.code is Code.KEY_KCV_MISMATCH


def test_a_check_value_is_cut_and_the_rest_overwritten() -> None:
    parent = Parent(bytes(bytearray(range(1, 9))))
    assert read_check_value(parent, KeyType.DES2, KcvMethod.DES_ZERO) == b"\x01\x02\x03"
    assert parent.derived.value == bytes(8)
    assert parent.derived.destroyed


def test_an_answer_of_another_length_is_refused_and_destroyed() -> None:
    parent = Parent(bytes(15))
    with pytest.raises(KmsError, match="15 bytes instead of 16"):
        read_zero_block(parent)
    assert parent.derived.destroyed


def test_a_key_without_the_right_to_derive_is_refused() -> None:
    with pytest.raises(KmsError) as failure:
        read_zero_block(DerivedSecret(b""))
    assert failure.value.code is Code.KEY_ATTRIBUTES
