"""The published values the probe compares with, computed again by the `cryptography` package."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from kms.hsm import probe, trials


def encrypt(algorithm: AES | TripleDES, data: bytes, iv: bytes | None = None) -> bytes:
    mode = modes.ECB() if iv is None else modes.CBC(iv)  # noqa: S305 - known answers of this mode
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def triple_des(value: bytes) -> TripleDES:
    return TripleDES((value + value[:8])[:24])


def test_the_wrapped_keys_are_right() -> None:
    for (wrapping, payload), wrapped in probe.WRAPPED.items():
        value = probe.PAYLOAD * (payload.length // 16)
        iv = bytes(16) if wrapping.is_aes else None
        algorithm = AES(trials.AES_KEY) if wrapping.is_aes else triple_des(trials.DES_KEY)
        assert encrypt(algorithm, value, iv) == wrapped
    assert all(byte.bit_count() % 2 for byte in probe.PAYLOAD)
    assert aes_key_wrap(probe.KEK, probe.KEK_PAYLOAD) == probe.KEK_WRAPPED
