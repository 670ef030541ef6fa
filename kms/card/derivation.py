"""A card's keys from this platform's master keys: NIST SP 800-108 in counter mode with AES-CMAC.

Rules: `docs/key-derivation.md` is the specification; a change to a single byte here locks us out of every card, so a
change is a new context version beside the old. Each PRF input is one block of 16 bytes, which lets every token make the
key inside itself (DESIGN section 4).
"""

import hashlib

from kms.card.keys import DerivedKeys, KeyHandle, KeyPort, KeyRole, KeyType, KeyUse
from kms.errors import Code, KmsError

LABEL = b"GlobalPlatform card key"
CONTEXT_VERSION = 1
MAX_PLATFORM = 64  # characters
MAX_GENERATION = 0xFFFFFFFF


def derive_key(keys: KeyPort, source: DerivedKeys, role: KeyRole, key_type: KeyType, use: KeyUse) -> KeyHandle:
    """Make one key inside the HSM. Raises `input.invalid` for a context that cannot be encoded."""
    blocks = build_prf_blocks(source, role, key_type)
    return keys.derive_cmac(keys.get_master(source.master), blocks, key_type, use)


def build_prf_blocks(source: DerivedKeys, role: KeyRole, key_type: KeyType) -> tuple[bytes, ...]:
    """Build the PRF inputs `[i]8 | SHA-256(Label | 00 | Context | [L]16)[0..14]`, one per 16 bytes of key."""
    bits = (key_type.length * 8).to_bytes(2, "big")
    # Hashing keeps the PRF input one block long whatever the context's length: fixed is 15 bytes, 120 bits of SHA-256.
    fixed = hashlib.sha256(LABEL + b"\x00" + build_context(source, role, key_type) + bits).digest()[:15]
    return tuple(bytes([i]) + fixed for i in range(1, -(-key_type.length // 16) + 1))


def build_context(source: DerivedKeys, role: KeyRole, key_type: KeyType) -> bytes:
    """Build the canonical context: version 01, then seven fields, each with its length in one byte before it."""
    check_context(source)
    fields = (
        source.platform.encode("ascii"),
        source.purpose.value.encode("ascii"),
        source.card_identity,
        source.aid,
        source.generation.to_bytes(4, "big"),
        role.value.encode("ascii"),
        key_type.value.encode("ascii"),
    )
    return bytes([CONTEXT_VERSION]) + b"".join(bytes([len(field)]) + field for field in fields)


def check_context(source: DerivedKeys) -> None:
    """Refuse with `input.invalid` what has no single encoding or breaks the sizes of `DerivedKeys`."""
    platform = source.platform
    # Printable ASCII alone: one name, one byte string; Unicode has several spellings of the same text.
    if not (1 <= len(platform) <= MAX_PLATFORM and platform.isascii() and platform.isprintable()):
        raise KmsError(
            Code.INPUT_INVALID, f"the platform's name must be 1 to {MAX_PLATFORM} printable ASCII characters"
        )
    if not 1 <= len(source.card_identity) <= 32:
        raise KmsError(Code.INPUT_INVALID, "a card identity must be 1 to 32 bytes")
    if not 5 <= len(source.aid) <= 16:
        raise KmsError(Code.INPUT_INVALID, "an AID must be 5 to 16 bytes")
    if not 0 <= source.generation <= MAX_GENERATION:
        raise KmsError(Code.INPUT_INVALID, f"a generation must be 0 to {MAX_GENERATION}")
