"""Primitives against published values."""

import pytest

from terminal.virtual_card.crypto import (
    check_equal,
    compute_aes_kcv,
    compute_cmac,
    compute_des_kcv,
    compute_retail_mac,
    decrypt_aes_cbc,
    decrypt_cbc,
    decrypt_ecb,
    encrypt_aes_block,
    encrypt_aes_cbc,
    encrypt_cbc,
    encrypt_ecb,
    pad,
    unpad,
)
from terminal.virtual_card.status import SecureMessagingError
from tests.unit.terminal.virtual_card.host import KEY, retail_mac


def test_check_values_of_the_public_test_key() -> None:
    assert compute_des_kcv(KEY).hex().upper() == "8BAF47"
    assert compute_aes_kcv(KEY).hex().upper() == "504A77"


def test_decryption_undoes_encryption() -> None:
    data = bytes(range(24))
    for key in (KEY, bytes(range(24))):
        assert decrypt_ecb(key, encrypt_ecb(key, data)) == data
        assert decrypt_cbc(key, encrypt_cbc(key, data)) == data


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 40])
def test_retail_mac_agrees_with_a_block_by_block_one(size: int) -> None:
    icv = bytes(range(8))
    assert compute_retail_mac(KEY, bytes(size), icv) == retail_mac(KEY, bytes(size), icv)


@pytest.mark.parametrize("size", range(17))
def test_padding_is_always_added_and_comes_off(size: int) -> None:
    padded = pad(bytes(size))
    assert len(padded) == (size // 8 + 1) * 8
    assert unpad(padded) == bytes(size)


@pytest.mark.parametrize("data", ["0000000000000000", "0102030405060708", "80" + 8 * "00", ""])
def test_wrong_padding_breaks_the_session(data: str) -> None:
    with pytest.raises(SecureMessagingError):
        unpad(bytes.fromhex(data))


def test_a_difference_breaks_the_session() -> None:
    check_equal(b"same", b"same")
    with pytest.raises(SecureMessagingError):
        check_equal(b"same", b"some")


def test_aes_values_of_nist() -> None:
    """SP 800-38B D.1 and SP 800-38A F.2.1, key 2B7E1516...4F3C."""
    key = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
    block = bytes.fromhex("6BC1BEE22E409F96E93D7E117393172A")
    assert compute_cmac(key, block).hex().upper() == "070A16B46B4D4144F79BDD9DD04A287C"
    assert encrypt_aes_block(key, block).hex().upper() == "3AD77BB40D7A3660A89ECAF32466EF97"
    ciphertext = encrypt_aes_cbc(key, block, bytes(range(16)))
    assert ciphertext.hex().upper() == "7649ABAC8119B246CEE98E9B12E9197D"
    assert decrypt_aes_cbc(key, ciphertext, bytes(range(16))) == block


def test_padding_to_the_block_of_aes() -> None:
    assert pad(bytes(15), 16) == bytes(15) + b"\x80"
    assert unpad(pad(bytes(16), 16), 16) == bytes(16)
    with pytest.raises(SecureMessagingError):
        unpad(b"\x80" + bytes(16), 16)
