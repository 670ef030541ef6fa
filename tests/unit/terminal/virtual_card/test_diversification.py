"""Factory keys from a master key."""

from terminal.virtual_card.crypto import compute_des_kcv
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from tests.unit.terminal.virtual_card.host import KEY, ecb

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
