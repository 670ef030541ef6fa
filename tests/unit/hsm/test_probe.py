"""The published values the probe compares with, computed again by the `cryptography` package."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from kms.hsm import probe


def encrypt(algorithm: AES | TripleDES, data: bytes, iv: bytes | None = None) -> bytes:
    mode = modes.ECB() if iv is None else modes.CBC(iv)  # noqa: S305 - known answers of this mode
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def triple_des(value: bytes) -> TripleDES:
    return TripleDES((value + value[:8])[:24])


def test_the_aes_answers_are_right() -> None:
    assert encrypt(AES(probe.AES_KEY), probe.AES_PLAIN) == probe.AES_CIPHER
    assert encrypt(AES(probe.AES_CIPHER), bytes(16)) == probe.AES_DERIVED_ZERO
    mac = CMAC(AES(probe.CMAC_KEY))
    mac.update(probe.CMAC_MESSAGE)
    assert mac.finalize() == probe.CMAC_VALUE


def test_the_triple_des_answers_are_right() -> None:
    key = triple_des(probe.DES_KEY)
    assert encrypt(key, bytes(8)) == probe.DES_ZERO_CIPHER
    derived = triple_des(encrypt(key, bytes(16), bytes(8)))
    assert encrypt(derived, bytes(8)) == probe.DES_CBC_DERIVED_ZERO
    assert encrypt(TripleDES(probe.DES_ZERO_CIPHER * 3), bytes(16), bytes(8)) == probe.DES3_CBC_CIPHER


def test_the_wrapped_keys_are_right() -> None:
    assert encrypt(triple_des(probe.DES_KEY), probe.PAYLOAD) == probe.DES_WRAPPED
    assert encrypt(AES(probe.AES_KEY), probe.PAYLOAD * 2, bytes(16)) == probe.AES_WRAPPED
    assert all(byte.bit_count() % 2 for byte in probe.PAYLOAD)
    assert aes_key_wrap(probe.KEK, probe.KEK_PAYLOAD) == probe.KEK_WRAPPED
