"""Primitives against published values."""

import pytest

from terminal.virtual_card.crypto import (
    check_equal,
    compute_aes_kcv,
    compute_des_kcv,
    compute_retail_mac,
    decrypt_cbc,
    decrypt_ecb,
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
