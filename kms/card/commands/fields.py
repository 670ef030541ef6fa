"""Checks and encodings that several commands share: AIDs, key numbers, length-value fields.

Rules: AIDs have 5-16 bytes (ISO/IEC 7816-5); key version numbers 01-7F, key identifiers 00-7F (GP Card Specification
2.3.1 section 7.5.1); FF is the version of a factory set, which exists on cards but can never be given to a key.
"""

from kms.card.tlv import build_length
from kms.errors import Code, KmsError

CLA_GP = 0x80
CLA_ISO = 0x00
LE_ALL = 256
KVN_FACTORY = 0xFF


def check_aid(aid: bytes, what: str) -> None:
    """Check that an AID has 5-16 bytes. Raises `card.apdu-invalid` naming `what` it is."""
    if not 5 <= len(aid) <= 16:
        raise KmsError(Code.APDU_INVALID, f"the {what} AID has {len(aid)} bytes; it must have 5-16")


def check_kvn(kvn: int) -> None:
    """Check that a key version number can be given to a key: 01-7F. Raises `card.apdu-invalid`."""
    if not 1 <= kvn <= 0x7F:
        raise KmsError(Code.APDU_INVALID, f"key version number {kvn:02X} is outside 01-7F")


def check_kid(kid: int) -> None:
    """Check that a key identifier is 00-7F. Raises `card.apdu-invalid`."""
    if not 0 <= kid <= 0x7F:
        raise KmsError(Code.APDU_INVALID, f"key identifier {kid:02X} is outside 00-7F")


def build_lv(value: bytes) -> bytes:
    """Encode a length-value field: BER length, then the value (one 00 byte when empty)."""
    return build_length(len(value)) + value
