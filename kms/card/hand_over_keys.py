"""Initial keys on their way from an issuer's HSM to a provider's: wrapped in the one, unwrapped, checked in the other.

Rules: AES key wrap proves that a blob is whole and for this KEK; that it is *this* key, of this role and type, its
check value decides, so the three are compared before anything is done with them.
"""

import hmac

from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import KeyPort, KeyRole, KeySetRef, KeyUse, MasterRef
from kms.errors import Code, KmsError

WrappedSet = tuple[bytes, bytes, bytes]
"""ENC, MAC, DEK by AES key wrap: each 8 bytes longer than the key."""

CheckValues = tuple[bytes, bytes, bytes]
"""Check values of ENC, MAC, DEK, 3 bytes each, by GlobalPlatform's method for their type."""


def wrap_initial_keys(keys: KeyPort, kek: MasterRef, ref: KeySetRef) -> tuple[WrappedSet, CheckValues]:
    """Derive a key set in this HSM and wrap it for the peer that holds `kek`. Raises `key.*`, `hsm.*`."""
    method = gp_kcv_method(ref.key_type)
    wrapping = keys.get_master(kek)
    made = [derive_static_key(keys, ref, role, KeyUse.PAYLOAD) for role in KeyRole]
    enc, mac, dek = ((keys.wrap_for_peer(wrapping, key), compute_kcv(keys, key, method)) for key in made)
    return (enc[0], mac[0], dek[0]), (enc[1], mac[1], dek[1])


def check_wrapped_keys(keys: KeyPort, ref: KeySetRef, kcvs: CheckValues) -> None:
    """Unwrap a handed-over key set and compare its check values, as `wrap_initial_keys` gave them.

    Raises `key.unwrap-refused` for a blob that is not whole or not for this KEK, `key.kcv-mismatch` for another key.
    """
    method = gp_kcv_method(ref.key_type)
    for role, expected in zip(KeyRole, kcvs, strict=True):
        found = compute_kcv(keys, derive_static_key(keys, ref, role, KeyUse.ENCRYPT), method)
        if not hmac.compare_digest(found, expected):
            raise KmsError(
                Code.KEY_KCV_MISMATCH,
                f"the {role} key that was handed over has another check value ({method}) than its sender announced;"
                " it is not used",
            )
