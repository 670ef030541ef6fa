"""What is refused before a token is asked (tests/contract/test_key_exchange.py has the rest)."""

import struct
from types import SimpleNamespace
from typing import cast

import pytest
from pkcs11 import MGF, Attribute, Mechanism, PublicKey, SecretKey
from pkcs11.exceptions import DeviceRemoved, GeneralError
from pkcs11.types import UnwrapMixin

from kms.card.keys import KeyType, KeyUse
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.key_wrap import OAEP, build_rsa_values, unwrap_by_aes, wrap_by_aes, wrap_by_rsa
from kms.hsm.templates import get_unwrapped_template
from kms.hsm.wrapping import WrapStrategy

TEMPLATE = get_unwrapped_template(KeyUse.ENCRYPT, KeyType.DES2, WrapStrategy.NATIVE)


class FailingKek(UnwrapMixin):
    """A KEK in a token that answers CKR_GENERAL_ERROR."""

    def unwrap_key(self, *_arguments: object, **_named: object) -> SecretKey:
        raise GeneralError


def build_connection(*, alive: bool) -> Connection:
    def check_alive() -> None:
        if not alive:
            raise DeviceRemoved

    return cast("Connection", SimpleNamespace(check_alive=check_alive))


def try_unwrap(wrapped: bytes, *, alive: bool = True) -> None:
    kek = cast("SecretKey", FailingKek())
    unwrap_by_aes(build_connection(alive=alive), kek, wrapped, key_type=KeyType.DES2, template=TEMPLATE)


@pytest.mark.parametrize("length", [0, 16, 23, 25, 32, 40])
def test_wrapped_bytes_of_another_length_never_reach_the_token(length: int) -> None:
    with pytest.raises(KmsError) as failure:
        try_unwrap(bytes(length), alive=False)
    assert failure.value.code is Code.KEY_UNWRAP_REFUSED


def test_a_general_error_of_a_living_token_is_about_the_bytes() -> None:
    with pytest.raises(KmsError) as failure:
        try_unwrap(bytes(24))
    assert failure.value.code is Code.KEY_UNWRAP_REFUSED


def test_a_general_error_of_a_token_that_is_gone_is_about_the_token() -> None:
    with pytest.raises(DeviceRemoved):
        try_unwrap(bytes(24), alive=False)


def test_a_key_without_the_right_is_refused() -> None:
    nothing = object()
    with pytest.raises(KmsError) as failure:
        wrap_by_aes(cast("SecretKey", nothing), cast("SecretKey", nothing), 16)
    assert failure.value.code is Code.KEY_ATTRIBUTES
    with pytest.raises(KmsError) as failure:
        wrap_by_rsa(cast("PublicKey", nothing), cast("SecretKey", nothing), 384)
    assert failure.value.code is Code.KEY_ATTRIBUTES


def test_the_oaep_parameter_names_sha1_and_no_label() -> None:
    assert struct.unpack("NNNPN", OAEP) == (Mechanism.SHA_1, MGF.SHA1, 1, 0, 0)


def test_numbers_of_an_rsa_key_are_big_endian_without_leading_zeros() -> None:
    values = build_rsa_values(0x80 << 8 * 383, 65537)
    assert values[Attribute.MODULUS] == b"\x80" + bytes(383)
    assert values[Attribute.PUBLIC_EXPONENT] == b"\x01\x00\x01"
