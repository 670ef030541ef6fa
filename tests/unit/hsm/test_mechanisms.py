import ctypes
import struct

import pytest
from pkcs11 import Attribute, Mechanism
from pkcs11.constants import DEFAULT

from kms.card.keys import CipherMode, KeyType
from kms.errors import KmsError
from kms.hsm.mechanisms import DerivationParameter, get_block_length, get_cipher, get_length_attributes, get_name

DATA = bytes(range(24))


def read_pointer(structure: bytes) -> bytes:
    address, length = struct.unpack("PN", structure)
    return ctypes.string_at(address, length)


def test_the_parameter_of_a_des_ecb_derivation_points_at_the_data() -> None:
    parameter = DerivationParameter(KeyType.DES2, CipherMode.ECB, DATA)
    assert parameter.mechanism is Mechanism.DES3_ECB_ENCRYPT_DATA
    assert read_pointer(parameter.value) == DATA


def test_the_parameter_of_a_des_cbc_derivation_has_an_iv_of_zeros_before_the_pointer() -> None:
    parameter = DerivationParameter(KeyType.DES3, CipherMode.CBC, DATA)
    assert parameter.mechanism is Mechanism.DES3_CBC_ENCRYPT_DATA
    assert parameter.value[:8] == bytes(8)
    assert read_pointer(parameter.value[8:]) == DATA


def test_the_parameter_of_an_aes_derivation_is_the_data() -> None:
    parameter = DerivationParameter(KeyType.AES256, CipherMode.ECB, DATA)
    assert (parameter.mechanism, parameter.value) == (Mechanism.AES_ECB_ENCRYPT_DATA, DATA)


def test_aes_keys_derive_by_ecb_alone() -> None:
    with pytest.raises(KmsError, match="ECB alone"):
        DerivationParameter(KeyType.AES128, CipherMode.CBC, DATA)


def test_a_des_template_carries_no_length() -> None:
    assert get_length_attributes(KeyType.DES2) == {Attribute.VALUE_LEN: DEFAULT}
    assert get_length_attributes(KeyType.AES192) == {}


@pytest.mark.parametrize(
    ("key_type", "mode", "mechanism", "block"),
    [
        (KeyType.DES2, CipherMode.ECB, Mechanism.DES3_ECB, 8),
        (KeyType.DES3, CipherMode.CBC, Mechanism.DES3_CBC, 8),
        (KeyType.AES128, CipherMode.ECB, Mechanism.AES_ECB, 16),
        (KeyType.AES256, CipherMode.CBC, Mechanism.AES_CBC, 16),
    ],
)
def test_ciphers_are_without_padding(key_type: KeyType, mode: CipherMode, mechanism: Mechanism, block: int) -> None:
    assert get_cipher(key_type, mode) is mechanism
    assert get_block_length(key_type) == block


def test_mechanisms_without_a_name_are_shown_by_number() -> None:
    assert get_name(Mechanism.AES_CMAC) == "AES_CMAC"
    assert get_name(0x80000123) == "0x80000123"
