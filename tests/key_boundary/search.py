"""Finds key values in bytes, in every form in which they would show.

Rules: a key is searched for by its parts of 8 bytes, so a half of a key is found and so is every form of the whole,
which contains the same form of its halves. Parity bits (the lowest of each byte) are left out on both sides: a key is
found with them and without. A place is looked at as it is, and again as what its hexadecimal digits (upper or lower
case, with or without blanks, colons or line ends between them), its base64 characters (both alphabets, in lines or not)
and its `\\xNN` escapes stand for, at every alignment. What is found is told by the key's name, never by its value.
"""

import binascii
import ctypes
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

PART = 8  # bytes; one DES key
RAW = "raw bytes"
_WITHOUT_PARITY = bytes(byte & 0xFE for byte in range(256))
_BETWEEN_DIGITS = b" \t\r\n:-"
_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{16,}")
_BASE64_RUN = re.compile(rb"[0-9A-Za-z+/]{11,}")
_BASE64_URL = bytes.maketrans(b"-_", b"+/")
# Twice as fast as `in` of bytes, which counts with memory of hundreds of megabytes.
_memmem = ctypes.CDLL(None).memmem
_memmem.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
_memmem.restype = ctypes.c_void_p
_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})")


@dataclass(frozen=True, order=True)
class Finding:
    """A part of a key where it should not be. `part`: which 8 bytes of it, from 1."""

    place: str
    key: str
    part: int
    form: str

    def __str__(self) -> str:
        return f"{self.key} (bytes {self.part * PART - PART + 1} to {self.part * PART}) as {self.form} in {self.place}"


@dataclass(frozen=True)
class Searcher:
    """Looks for a set of keys. `keys`: name to value, each of 8 bytes or a multiple."""

    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        for name, key in self.keys.items():
            if not key or len(key) % PART:
                raise ValueError(f"{name} is not made of parts of {PART} bytes")

    def find(self, place: str, content: bytes) -> list[Finding]:
        """Every key part that is in there, once per form."""
        found: list[Finding] = []
        parts = list(self._parts())
        for form, view in build_views(content):
            plain = view.translate(_WITHOUT_PARITY)
            found += [Finding(place, name, part, form) for name, part, value in parts if _contains(plain, value)]
        return sorted(set(found))

    def _parts(self) -> Iterator[tuple[str, int, bytes]]:
        for name, key in self.keys.items():
            for start in range(0, len(key), PART):
                yield name, start // PART + 1, key[start : start + PART].translate(_WITHOUT_PARITY)


def _contains(content: bytes, part: bytes) -> bool:
    return _memmem(content, len(content), part, len(part)) is not None


def find_whole_keys(findings: Iterable[Finding], searcher: Searcher) -> list[str]:
    """The keys of which every part was found as raw bytes."""
    found = {(item.key, item.part) for item in findings if item.form == RAW}
    return [
        name
        for name, key in searcher.keys.items()
        if all((name, part) in found for part in range(1, len(key) // PART + 1))
    ]


def build_views(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The content as it is, and as what the texts in it stand for."""
    yield RAW, content
    digits = b"".join(_HEX_RUN.findall(content.translate(None, _BETWEEN_DIGITS)))
    for start in range(2):
        length = (len(digits) - start) // 2 * 2
        yield "hexadecimal", binascii.unhexlify(digits[start : start + length])
    characters = b"".join(_BASE64_RUN.findall(content.translate(_BASE64_URL, b"\r\n")))
    characters += b"AAAA"  # fill the last group of four, whatever follows it
    for start in range(4):
        length = (len(characters) - start) // 4 * 4
        yield "base64", binascii.a2b_base64(characters[start : start + length])
    if b"\\x" in content:
        yield "escapes", _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), content)
