"""Finds key values in bytes, in every form in which they would show.

Rules: a key is searched for by its parts of 8 bytes, so a half of a key is found and so is every form of the whole,
which contains the same form of its halves. Parity bits (the lowest of each byte) are left out on both sides: a key is
found with them and without. A place is looked at as it is, and again as what its hexadecimal digits (upper or lower
case, with or without blanks, colons or line ends between them), its base64 characters (both alphabets, in lines or not)
and its escapes (of Python and JSON) stand for, at every alignment. What is found is told by the key's
name, never by its value. All parts are looked for at once: there are hundreds, and memory of hundreds of megabytes.
"""

import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ahocorasick_rs import BytesAhoCorasick

PART = 8  # bytes; one DES key
RAW = "raw bytes"
_WITHOUT_PARITY = bytes(byte & 0xFE for byte in range(256))
_TEXT = re.compile(rb"[\t\n\r -~]{11,}")  # 8 bytes are 11 characters of base64, and more in any other text
_BETWEEN_DIGITS = b" \t\r\n:-"
_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{16,}")
_BASE64_RUN = re.compile(rb"[0-9A-Za-z+/]{11,}")
_BASE64_URL = bytes.maketrans(b"-_", b"+/")
# In JSON a text that is escaped already has its backslashes doubled.
_ESCAPE = re.compile(rb"\\+(?:(?:x|u00)([0-9A-Fa-f]{2})|([nrtbf\"']))")
_SHORT_ESCAPES = dict(zip(b"nrtbf\"'", b"\n\r\t\b\f\"'", strict=True))


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
        names, automaton = self._parts
        found: set[Finding] = set()
        for form, view in build_views(content):
            plain = view.translate(_WITHOUT_PARITY)
            for number in {match[0] for match in automaton.find_matches_as_indexes(plain, overlapping=True)}:
                found.update(Finding(place, name, part, form) for name, part in names[number])
        return sorted(found)

    @cached_property
    def _parts(self) -> tuple[list[list[tuple[str, int]]], BytesAhoCorasick]:
        """What finds the parts, and of each the keys that have it."""
        parts: dict[bytes, list[tuple[str, int]]] = {}
        for name, key in self.keys.items():
            for start in range(0, len(key), PART):
                value = key[start : start + PART].translate(_WITHOUT_PARITY)
                parts.setdefault(value, []).append((name, start // PART + 1))
        return list(parts.values()), BytesAhoCorasick(list(parts))


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
    text = b"\0".join(_TEXT.findall(content))  # a small part of a process's memory
    digits = b"".join(_HEX_RUN.findall(text.translate(None, _BETWEEN_DIGITS)))
    for start in range(2):
        length = (len(digits) - start) // 2 * 2
        yield "hexadecimal", binascii.unhexlify(digits[start : start + length])
    characters = b"".join(_BASE64_RUN.findall(text.translate(_BASE64_URL, b"\r\n")))
    characters += b"AAAA"  # fill the last group of four, whatever follows it
    for start in range(4):
        length = (len(characters) - start) // 4 * 4
        yield "base64", binascii.a2b_base64(characters[start : start + length])
    if b"\\" in text:
        yield "escapes", _ESCAPE.sub(_resolve, text)


def _resolve(escape: re.Match[bytes]) -> bytes:
    return binascii.unhexlify(escape[1]) if escape[1] else bytes([_SHORT_ESCAPES[escape[2][0]]])
