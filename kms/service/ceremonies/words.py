"""A script's hash as words to be read aloud: the English list of BIP-39 (2,048 words, from the `mnemonic` package).

Rules: the first 132 bits of the SHA-256, eleven a word: twelve words, each of which is known by its first four letters.
"""

from functools import cache

from mnemonic import Mnemonic

WORDS = 12
_BITS = 11


def build_words(digest: bytes) -> tuple[str, ...]:
    """The words of a SHA-256, 32 bytes."""
    number = int.from_bytes(digest, "big")
    length = 8 * len(digest)
    shifts = [length - _BITS * (index + 1) for index in range(WORDS)]
    return tuple(_load_words()[(number >> shift) & (2**_BITS - 1)] for shift in shifts)


@cache
def _load_words() -> list[str]:
    return list(Mnemonic("english").wordlist)
