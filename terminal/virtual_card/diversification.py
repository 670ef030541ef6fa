"""Static card keys from a 16-byte master key and the 10 bytes of key diversification data (kdd).

Each scheme encrypts a 16-byte block per key with 3DES-ECB; the last nibbles tell the keys apart (1 ENC, 2 MAC, 3 DEK).
"""

from enum import StrEnum

from terminal.virtual_card.crypto import encrypt_ecb


class Diversification(StrEnum):
    """How the manufacturer made the card's keys."""

    NONE = "none"
    VISA2 = "visa2"
    EMV = "emv"


def derive_card_keys(master: bytes, kdd: bytes, scheme: Diversification) -> tuple[bytes, bytes, bytes]:
    """Return ENC, MAC and DEK of 16 bytes each."""
    if scheme is Diversification.NONE:
        return master, master, master
    # EMV CPS 1.1 section 4.1: the six rightmost bytes. VISA2: two bytes of the ISD's AID, then the chip's number.
    seed = kdd[4:10] if scheme is Diversification.EMV else kdd[0:2] + kdd[4:8]
    enc, mac, dek = (
        encrypt_ecb(master, seed + bytes([0xF0, number]) + seed + bytes([0x0F, number])) for number in (1, 2, 3)
    )
    return enc, mac, dek
