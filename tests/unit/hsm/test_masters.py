import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.masters import check_components, check_object_id, combine, get_method_for_people


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
