"""A card's static keys from a vendor's master key: none, VISA2, EMV CPS 1.1.

Rules: DES schemes only, 3DES-ECB with the master over 16 bytes made of the card's key diversification data (kdd).
"""

from kms.card.keys import CipherMode, Diversification, KeyHandle, KeyPort, KeyRole, KeyType, KeyUse, VendorKeys
from kms.errors import Code, KmsError

KDD_LENGTH = 10


def derive_vendor_key(keys: KeyPort, source: VendorKeys, role: KeyRole, use: KeyUse) -> KeyHandle:
    """Make one static DES2 key of a card, or give the master's own handle when the scheme is none.

    Raises `input.invalid` when the kdd is not 10 bytes or the master is not a triple DES key.
    """
    if source.scheme is Diversification.NONE:
        return keys.get_master(source.master)
    if source.master.key_type.is_aes:
        raise KmsError(
            Code.INPUT_INVALID, f"diversification {source.scheme} needs a triple DES master key: name another master"
        )
    data = build_diversification_data(source.scheme, source.kdd, role)
    return keys.derive_des(keys.get_master(source.master), CipherMode.ECB, data, KeyType.DES2, use)


def build_diversification_data(scheme: Diversification, kdd: bytes, role: KeyRole) -> bytes:
    """Build the 16 bytes that the master encrypts: `x F0 k | x 0F k`, k = 01 ENC, 02 MAC, 03 DEK."""
    if len(kdd) != KDD_LENGTH:
        raise KmsError(Code.INPUT_INVALID, f"key diversification data must be {KDD_LENGTH} bytes, not {len(kdd)}")
    if scheme is Diversification.VISA2:
        # kdd 0-1: end of the card manager's AID; kdd 4-7: IC serial number.
        card = kdd[0:2] + kdd[4:8]
    elif scheme is Diversification.EMV_CPS_1_1:
        # EMV CPS 1.1: KEYDATA is the KMC identifier (6) and the chip serial number (4); its last 6 bytes count.
        card = kdd[4:10]
    else:
        raise KmsError(Code.INPUT_INVALID, f"diversification {scheme} makes no data of its own")
    return card + b"\xf0" + bytes([role.kid]) + card + b"\x0f" + bytes([role.kid])
