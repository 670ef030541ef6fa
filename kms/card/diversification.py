"""A card's static keys from a vendor's master key: none, VISA2, EMV CPS 1.1, KDF3.

Rules: each scheme makes a key of the card's key diversification data (kdd) and the key's role. VISA2 and EMV CPS are
3DES-ECB under a triple DES master; KDF3 is SP 800-108 under an AES master, one CMAC block for each 16 bytes of key.
"""

from kms.card.keys import CipherMode, Diversification, KeyHandle, KeyPort, KeyRole, KeyType, KeyUse, VendorKeys
from kms.errors import Code, KmsError

KDD_LENGTH = 10


def derive_vendor_key(keys: KeyPort, source: VendorKeys, role: KeyRole, key_type: KeyType, use: KeyUse) -> KeyHandle:
    """Make one static key of a card, or give the master's own handle when the scheme is none.

    Raises `input.invalid` when the kdd is not 10 bytes or the scheme makes no key of this type from this master.
    """
    check_vendor_keys(source, key_type)
    if source.scheme is Diversification.NONE:
        return keys.get_master(source.master)
    if source.scheme is Diversification.KDF3:
        blocks = build_kdf3_blocks(source.kdd, role, key_type)
        return keys.derive_cmac(keys.get_master(source.master), blocks, key_type, use)
    data = build_diversification_data(source.scheme, source.kdd, role)
    return keys.derive_des(keys.get_master(source.master), CipherMode.ECB, data, key_type, use)


def check_vendor_keys(source: VendorKeys, key_type: KeyType) -> None:
    """Refuse with `input.invalid` a scheme that does not make keys of this type from its master."""
    scheme, master = source.scheme, source.master.key_type
    if scheme is Diversification.NONE and master.is_aes:
        # SCP03's static DEK wraps, its ENC and MAC keys derive and sign: one master may not be all of them (ADR 0072).
        raise KmsError(
            Code.INPUT_INVALID,
            "an AES vendor key cannot be a card's three keys undiversified: diversify by kdf3, or use triple DES",
        )
    if master.is_aes != (scheme is Diversification.KDF3):
        needed = "an AES" if scheme is Diversification.KDF3 else "a triple DES"
        raise KmsError(Code.INPUT_INVALID, f"diversification {scheme} needs {needed} master key: name another master")
    made = master if scheme is Diversification.NONE else KeyType.DES2
    if not (key_type.is_aes if scheme is Diversification.KDF3 else key_type is made):
        kind = "AES" if scheme is Diversification.KDF3 else made
        raise KmsError(Code.INPUT_INVALID, f"the vendor master key makes {kind} keys, not {key_type}: mend the key set")


def build_diversification_data(scheme: Diversification, kdd: bytes, role: KeyRole) -> bytes:
    """Build the 16 bytes that a triple DES master encrypts: `x F0 k | x 0F k`, k = 01 ENC, 02 MAC, 03 DEK."""
    check_kdd(kdd)
    if scheme is Diversification.VISA2:
        # kdd 0-1: end of the card manager's AID; kdd 4-7: IC serial number.
        card = kdd[0:2] + kdd[4:8]
    elif scheme is Diversification.EMV_CPS_1_1:
        # EMV CPS 1.1: KEYDATA is the KMC identifier (6) and the chip serial number (4); its last 6 bytes count.
        card = kdd[4:10]
    else:
        raise KmsError(Code.INPUT_INVALID, f"diversification {scheme} makes no data of its own")
    return card + b"\xf0" + bytes([role.kid]) + card + b"\x0f" + bytes([role.kid])


def build_kdf3_blocks(kdd: bytes, role: KeyRole, key_type: KeyType) -> tuple[bytes, ...]:
    """Build KDF3's PRF inputs, 16 bytes each: `i 1 | 00 00 00 k | 00 | kdd 10`, i = 01, 02; no length field."""
    check_kdd(kdd)
    fixed = bytes([0, 0, 0, role.kid, 0]) + kdd
    return tuple(bytes([i]) + fixed for i in range(1, -(-key_type.length // 16) + 1))


def check_kdd(kdd: bytes) -> None:
    """Refuse key diversification data of another length with `input.invalid`."""
    if len(kdd) != KDD_LENGTH:
        raise KmsError(Code.INPUT_INVALID, f"key diversification data must be {KDD_LENGTH} bytes, not {len(kdd)}")
