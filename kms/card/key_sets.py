"""The keys of a key set and their check values, whatever the set is derived from."""

from typing import assert_never

from kms.card.derivation import derive_key
from kms.card.diversification import derive_vendor_key
from kms.card.keys import (
    CipherMode,
    DerivedKeys,
    KcvMethod,
    KeyHandle,
    KeyPort,
    KeyRole,
    KeySetRef,
    KeyType,
    KeyUse,
    VendorKeys,
    WrappedKeys,
)
from kms.errors import Code, KmsError


def derive_static_key(keys: KeyPort, ref: KeySetRef, role: KeyRole, use: KeyUse) -> KeyHandle:
    """Make one static key of a key set inside the HSM.

    Raises `input.invalid` when the key type is not what the source makes, and what the key port raises.
    """
    source = ref.source
    match source:
        case DerivedKeys():
            return derive_key(keys, source, role, ref.key_type, use)
        case WrappedKeys():
            wrapped = source.wrapped[role.kid - 1]  # ENC, MAC, DEK stand in the order of their key identifiers
            return keys.unwrap(keys.get_master(source.kek), wrapped, ref.key_type, use)
        case VendorKeys():
            return derive_vendor_key(keys, source, role, ref.key_type, use)
        case _:
            assert_never(source)


def compute_kcv(keys: KeyPort, handle: KeyHandle, method: KcvMethod) -> bytes:
    """Compute a check value: 3 bytes, or 5 by `AES_CMAC`. Raises `input.invalid` when the method is not the key's."""
    if handle.key_type.is_aes == (method is KcvMethod.DES_ZERO):
        raise KmsError(Code.INPUT_INVALID, f"check value method {method} does not fit a key of type {handle.key_type}")
    if method is KcvMethod.DES_ZERO:
        return keys.encrypt(handle, CipherMode.ECB, bytes(8))[:3]  # GP 2.3.1 section B.5
    if method is KcvMethod.AES_GP:
        return keys.encrypt(handle, CipherMode.ECB, b"\x01" * 16)[:3]  # GP 2.3.1 section B.6
    return keys.cmac(handle, bytes(16))[:5]  # ANSI X9.24-1


def gp_kcv_method(key_type: KeyType) -> KcvMethod:
    """Name the method GlobalPlatform uses for a key of this type, in PUT KEY and everywhere on a card."""
    return KcvMethod.AES_GP if key_type.is_aes else KcvMethod.DES_ZERO
