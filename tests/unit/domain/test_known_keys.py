from collections.abc import Callable

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.card.keys import KcvMethod
from kms.domain.known_keys import TEST_KEY_KCVS, check_not_test_key
from kms.errors import Code, KmsError

REPEATED = [
    bytes(range(0x40, 0x50)),
    *(bytes([byte]) * 16 for byte in (0x00, 0xFF, 0x01, 0x11)),
    bytes.fromhex("0123456789ABCDEF") * 2,
    bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    bytes.fromhex("00112233445566778899AABBCCDDEEFF"),
    bytes.fromhex("112233445566778899AABBCCDDEEFF00"),
    b"GEMXPRESSOSAMPLE",
]
LONG = [bytes(range(0x40, 0x60)), bytes(range(32))]
VALUES = [value * 2 for value in REPEATED] + LONG


def encrypt(algorithm: AES | TripleDES, block: bytes) -> bytes:
    return Cipher(algorithm, modes.ECB()).encryptor().update(block)  # noqa: S305 - a check value is ECB


def compute_cmac(key: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(bytes(16))
    return mac.finalize()


COMPUTE: dict[KcvMethod, tuple[tuple[int, ...], Callable[[bytes], bytes]]] = {
    KcvMethod.DES_ZERO: ((16, 24), lambda key: encrypt(TripleDES((key + key[:8])[:24]), bytes(8))[:3]),
    KcvMethod.AES_GP: ((16, 24, 32), lambda key: encrypt(AES(key), b"\x01" * 16)[:3]),
    KcvMethod.AES_CMAC: ((16, 24, 32), lambda key: compute_cmac(key)[:5]),
}


@pytest.mark.parametrize("method", list(KcvMethod))
def test_the_list_is_that_of_the_values_it_names(method: KcvMethod) -> None:
    lengths, compute = COMPUTE[method]
    assert TEST_KEY_KCVS[method] == {compute(value[:length]) for value in VALUES for length in lengths}


@pytest.mark.parametrize(
    ("kcv", "method"),
    [("8BAF47", KcvMethod.DES_ZERO), ("504A77", KcvMethod.AES_GP)],
    ids=["404142..4F as 3DES", "404142..4F as AES"],
)
def test_the_test_key_of_every_card_tool_is_refused(kcv: str, method: KcvMethod) -> None:
    with pytest.raises(KmsError, match=kcv) as failure:
        check_not_test_key(bytes.fromhex(kcv), method)
    assert failure.value.code is Code.KEY_TEST_VALUE


def test_other_keys_pass_and_so_does_the_value_by_another_method() -> None:
    check_not_test_key(bytes.fromhex("F17EF7"), KcvMethod.DES_ZERO)
    check_not_test_key(bytes.fromhex("8BAF47"), KcvMethod.AES_GP)
