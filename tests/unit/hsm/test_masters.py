import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.masters import check_components, check_object_id, check_parts, combine, get_method_for_people


def test_a_key_is_the_xor_of_its_components() -> None:
    assert combine([bytearray(b"\x0f" * 16), bytearray(b"\xf0" * 16), bytearray(b"\x01" * 16)]) == b"\xfe" * 16
    assert combine([bytearray(16)]) == bytes(16)


@pytest.mark.parametrize("count", [1, 5])
def test_one_to_five_full_components_are_taken(count: int) -> None:
    check_components([bytearray(24)] * count, KeyType.DES3)


@pytest.mark.parametrize("components", [[], [bytearray(16)] * 6, [bytearray(15)], [bytearray(16), bytearray(8)]])
def test_other_numbers_and_lengths_are_refused(components: list[bytearray]) -> None:
    with pytest.raises(KmsError) as failure:
        check_components(components, KeyType.AES128)
    assert failure.value.code is Code.INPUT_INVALID


def test_an_object_id_has_16_bytes() -> None:
    check_object_id(bytes(16))
    with pytest.raises(KmsError):
        check_object_id(bytes(15))


def test_people_compare_aes_keys_by_cmac_and_triple_des_keys_by_zeros() -> None:
    assert get_method_for_people(KeyType.AES256) is KcvMethod.AES_CMAC
    assert get_method_for_people(KeyType.DES2) is KcvMethod.DES_ZERO


A, B = bytes(range(0x10, 0x18)), bytes(range(0x20, 0x28))


@pytest.mark.parametrize(
    ("key_type", "value"),
    [
        (KeyType.DES2, A + A),
        (KeyType.DES2, A + bytes(byte ^ 0x01 for byte in A)),
        (KeyType.DES3, A + A + B),
        (KeyType.DES3, A + B + B),
        (KeyType.DES2, bytes(16)),
    ],
    ids=["halves", "halves but for parity", "first two", "last two", "the same component twice"],
)
def test_a_triple_des_key_that_is_single_des_is_refused(key_type: KeyType, value: bytes) -> None:
    with pytest.raises(KmsError, match="single DES") as failure:
        check_parts(key_type, value)
    assert failure.value.code is Code.INPUT_INVALID
    assert value.hex() not in str(failure.value)


def test_other_keys_are_taken_aes_keys_whatever_they_are() -> None:
    check_parts(KeyType.DES2, A + B)
    check_parts(KeyType.DES3, A + B + A)
    check_parts(KeyType.AES128, A + A)
