"""Factory keys from a master key."""

import pytest

from terminal.virtual_card import KEY_TYPE_AES, KEY_TYPE_DES
from terminal.virtual_card.crypto import compute_aes_kcv, compute_des_kcv
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from tests.unit.terminal.virtual_card.host import KEY, ecb
from tests.unit.terminal.virtual_card.host03 import cmac

KDD = bytes.fromhex("00010203040506070809")


def test_none_is_the_master_key_three_times() -> None:
    assert derive_card_keys(KEY, KDD, Diversification.NONE) == (KEY, KEY, KEY)


def test_emv_published_keys() -> None:
    keys = derive_card_keys(KEY, KDD, Diversification.EMV)
    assert [key.hex().upper() for key in keys] == [
        "0EF59FCBF8019B62E62AF6EA20B8BF25",
        "3E383EB6F2762B88155F76BDFED05A02",
        "64021E43C0C7D264A1C7C6D01E1C8761",
    ]
    assert [compute_des_kcv(key).hex().upper() for key in keys] == ["C33013", "6F4CA6", "BB8179"]


def test_visa2_takes_the_aids_and_the_chips_bytes() -> None:
    blocks = ["000104050607F001000104050607" + "0F01", "000104050607F002000104050607" + "0F02"]
    blocks.append("000104050607F003000104050607" + "0F03")
    expected = tuple(ecb(KEY, bytes.fromhex(block)) for block in blocks)
    assert derive_card_keys(KEY, KDD, Diversification.VISA2) == expected


def test_kdf3_published_keys() -> None:
    keys = derive_card_keys(KEY, KDD, Diversification.KDF3)
    assert [key.hex().upper() for key in keys] == [
        "808BC985A1069AD2A9AC94E0FE7B8843",
        "65942E0BF4F3F32AEFACBA5671456275",
        "6A74F6F6040CCA10D8A3FDC7914FD7CC",
    ]
    assert [compute_aes_kcv(key).hex().upper() for key in keys] == ["E79C05", "D1BD77", "3FDE8C"]


@pytest.mark.parametrize("length", [24, 32])
def test_kdf3_makes_keys_as_long_as_the_master_from_two_blocks(length: int) -> None:
    master = bytes(range(length))
    blocks = [cmac(master, bytes([number, 0, 0, 0, 2, 0]) + KDD) for number in (1, 2)]
    assert derive_card_keys(master, KDD, Diversification.KDF3)[1] == b"".join(blocks)[:length]


def test_each_scheme_is_of_one_key_type() -> None:
    assert [str(scheme) for scheme in Diversification if scheme.makes(KEY_TYPE_AES)] == ["none", "kdf3"]
    assert [str(scheme) for scheme in Diversification if scheme.makes(KEY_TYPE_DES)] == ["none", "visa2", "emv"]
