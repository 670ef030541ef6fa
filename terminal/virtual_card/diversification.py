"""Static card keys from a master key and the 10 bytes of key diversification data (kdd).

VISA2 and EMV encrypt a 16-byte block per key with 3DES-ECB; the last nibbles tell the keys apart (1 ENC, 2 MAC, 3 DEK).
KDF3 is of AES: SP 800-108 in counter mode with AES-CMAC, without the length field.
"""

from enum import StrEnum

from terminal.virtual_card.crypto import compute_cmac, encrypt_ecb
from terminal.virtual_card.model import KEY_TYPE_AES


class Diversification(StrEnum):
    """How the manufacturer made the card's keys."""

    NONE = "none"
    VISA2 = "visa2"
    EMV = "emv"
    KDF3 = "kdf3"

    def makes(self, key_type: int) -> bool:
        """Tell whether the scheme makes keys of this type."""
        is_of_aes = self is Diversification.KDF3
        return self is Diversification.NONE or is_of_aes == (key_type == KEY_TYPE_AES)


def derive_card_keys(master: bytes, kdd: bytes, scheme: Diversification) -> tuple[bytes, bytes, bytes]:
    """Return ENC, MAC and DEK, each as long as the master: 16 bytes, for NONE and KDF3 also 24 or 32."""
    if scheme is Diversification.NONE:
        return master, master, master
    if scheme is Diversification.KDF3:
        enc, mac, dek = (_derive_kdf3(master, kdd, number) for number in (1, 2, 3))
        return enc, mac, dek
    # EMV CPS 1.1 section 4.1: the six rightmost bytes. VISA2: two bytes of the ISD's AID, then the chip's number.
    seed = kdd[4:10] if scheme is Diversification.EMV else kdd[0:2] + kdd[4:8]
    enc, mac, dek = (
        encrypt_ecb(master, seed + bytes([0xF0, number]) + seed + bytes([0x0F, number])) for number in (1, 2, 3)
    )
    return enc, mac, dek


def _derive_kdf3(master: bytes, kdd: bytes, number: int) -> bytes:
    """Blocks of CMAC(master, i ‖ key number in 4 bytes ‖ 00 ‖ kdd) for i = 1, 2, cut to the master's length."""
    fixed = number.to_bytes(4, "big") + b"\x00" + kdd
    return b"".join(compute_cmac(master, bytes([block]) + fixed) for block in (1, 2))[: len(master)]
