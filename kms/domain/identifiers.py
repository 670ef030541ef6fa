"""Identifiers of rows: UUID version 7, ordered by the time they were made (RFC 9562 section 5.7)."""

from uuid import UUID

RANDOM_LENGTH = 10


def build_uuid7(unix_ms: int, random: bytes) -> str:
    """Build a UUID version 7 in lower-case text form. `unix_ms`: milliseconds since 1970, 48 bits; `random`: 10 bytes.

    Raises ValueError for a time or length that does not fit.
    """
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError("the time does not fit 48 bits")
    if len(random) != RANDOM_LENGTH:
        raise ValueError(f"{RANDOM_LENGTH} random bytes are needed")
    value = int.from_bytes(unix_ms.to_bytes(6, "big") + random, "big")
    value = value & ~(0xF << 76) | (0x7 << 76)  # version, bits 48-51
    value = value & ~(0x3 << 62) | (0x2 << 62)  # variant, bits 64-65
    return str(UUID(int=value))
