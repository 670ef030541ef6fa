"""AES-CMAC arithmetic around the one block encryption that the token does (NIST SP 800-38B; RFC 4493 section 2.3)."""

BLOCK = 16
_R128 = 0x87


def build_k1(zero_block_encrypted: bytes) -> bytes:
    """Subkey K1 from E(K, 0): shifted left by one bit, reduced by the polynomial 0x87."""
    number = int.from_bytes(zero_block_encrypted, "big") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ _R128
    return number.to_bytes(BLOCK, "big")


def xor(left: bytes, right: bytes) -> bytes:
    """Combine two byte strings of one length bit by bit."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def split_blocks(message: bytes) -> tuple[bytes, ...]:
    """A message as its 16-byte blocks."""
    return tuple(message[i : i + BLOCK] for i in range(0, len(message), BLOCK))
