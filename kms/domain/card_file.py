"""The file by which a manufacturer delivers cards: parsed strictly, whole, with every fault and its line.

Rules: UTF-8 (a byte order mark is taken), comma-separated, LF or CRLF, the header line exactly `HEADER`. No field
holds a line break, so each line is parsed by itself and a broken one never hides the next. Blank lines are skipped.
Hex is written without spaces, in either case. `scp02_i` and `scp03_i` are empty for a protocol that the card does not
speak; with both empty the card is recognized when it first comes.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kms.card.channel import OPTIONS
from kms.card.keys import Diversification
from kms.domain.cards import SCP02, SCP03
from kms.errors import Fault

COLUMNS = (
    "identity",
    "kdd",
    "isd_aid",
    "isd_kvn",
    "scp02_i",
    "scp03_i",
    "vendor_master",
    "diversification",
    "profile",
)
HEADER = ",".join(COLUMNS)

MAX_LINE = 2000  # characters; a whole line of the longest values has fewer than 500
KDD_LENGTH = 10
FACTORY_KVN = 0xFF
HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*\Z")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class CardLine:
    """One card of the file. `line`: its line number, from 1. Names are of a vendor master and of a card profile.

    `scp02_i`, `scp03_i`: None of a protocol that the file does not give the card.
    """

    line: int
    identity: bytes
    kdd: bytes
    isd_aid: bytes
    isd_kvn: int
    scp02_i: int | None
    scp03_i: int | None
    vendor_master: str
    diversification: Diversification
    profile: str

    @property
    def is_given(self) -> bool:
        """Whether the line says which protocols the card speaks."""
        return self.scp02_i is not None or self.scp03_i is not None

    def find_i(self, scp: int) -> int | None:
        """Find the "i" of a protocol (2, 3)."""
        return {SCP02: self.scp02_i, SCP03: self.scp03_i}[scp]


@dataclass(frozen=True)
class CardFile:
    """A parsed file: its good lines, and the faults of the others. It may be used only when there are no faults."""

    lines: tuple[CardLine, ...]
    faults: tuple[Fault, ...]


class _FieldFaultError(Exception):
    """What is wrong with one field."""


def parse_card_file(content: bytes) -> CardFile:
    """Parse a whole file. Never raises: every fault is in the answer, in the order of lines."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return CardFile((), (Fault(f"line {line}", "is not UTF-8 text; save the file as UTF-8"),))
    # Not str.splitlines: it would also split at form feeds and other characters that are no line ends of CSV.
    numbered = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1))
    filled = ((number, line) for number, line in numbered if line.strip())
    number, header = next(filled, (1, ""))
    if header != HEADER:
        return CardFile((), (Fault(f"line {number}", f"the header must be exactly: {HEADER}"),))
    return _parse_lines(filled)


def build_where(line: int, column: str) -> str:
    """Say where a fault is."""
    return f"line {line}, column {column}"


def _parse_lines(numbered: Iterator[tuple[int, str]]) -> CardFile:
    lines: list[CardLine] = []
    faults: list[Fault] = []
    seen: dict[bytes, int] = {}
    for number, text in numbered:
        fields = _split(number, text, faults)
        if fields is None:
            continue
        card = _parse_card(number, fields, faults)
        if card is None:
            continue
        first = seen.setdefault(card.identity, number)
        if first == number:
            lines.append(card)
        else:
            faults.append(Fault(build_where(number, "identity"), f"the same card stands on line {first}"))
    if not lines and not faults:
        faults.append(Fault("line 1", "the file holds no card"))
    return CardFile(tuple(lines), tuple(faults))


def _split(number: int, text: str, faults: list[Fault]) -> list[str] | None:
    if len(text) > MAX_LINE:
        faults.append(Fault(f"line {number}", f"is longer than {MAX_LINE} characters"))
        return None
    try:
        fields = next(csv.reader([text], strict=True))
    except csv.Error:
        faults.append(Fault(f"line {number}", "is no valid CSV; check its quotation marks"))
        return None
    if len(fields) != len(COLUMNS):
        faults.append(Fault(f"line {number}", f"has {len(fields)} fields; {len(COLUMNS)} are needed"))
        return None
    return fields


def _parse_card(number: int, fields: list[str], faults: list[Fault]) -> CardLine | None:
    values: list[object] = []
    before = len(faults)
    for column, parse, field in zip(COLUMNS, PARSERS, fields, strict=True):
        try:
            values.append(parse(field))
        except _FieldFaultError as fault:
            faults.append(Fault(build_where(number, column), str(fault)))
    if len(faults) > before:
        return None
    return CardLine(number, *values)  # type: ignore[arg-type] # PARSERS gives them in the order of the fields


def _parse_hex(shortest: int, longest: int) -> Callable[[str], bytes]:
    size = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"

    def parse(field: str) -> bytes:
        if not HEX.match(field):
            raise _FieldFaultError("is not hex (two digits a byte, no spaces)")
        value = bytes.fromhex(field)
        if not shortest <= len(value) <= longest:
            raise _FieldFaultError(f"has {len(value)} bytes; {size} {'is' if size == '1' else 'are'} needed")
        return value

    return parse


_parse_byte_field = _parse_hex(1, 1)


def _parse_kvn(field: str) -> int:
    kvn = _parse_byte_field(field)[0]
    # GP Card Specification 2.3.1 section 11.8.2.1: 01 to 7F; FF is what cards show for a factory set.
    if not (0x01 <= kvn <= 0x7F or kvn == FACTORY_KVN):
        raise _FieldFaultError("is no key version: 01 to 7F, or FF for a factory set")
    return kvn


def _parse_option(scp: int) -> Callable[[str], int | None]:
    supported = sorted(OPTIONS[scp])

    def parse(field: str) -> int | None:
        if not field:
            return None
        option = _parse_byte_field(field)[0]
        if option not in supported:
            known = ", ".join(f"{item:02X}" for item in supported)
            raise _FieldFaultError(f"is no supported option of SCP{scp:02d}: {known}, or empty")
        return option

    return parse


def _parse_name(field: str) -> str:
    if not NAME.match(field):
        raise _FieldFaultError("is no name: letters, digits, dot, dash and underscore, at most 64")
    return field


def _parse_diversification(field: str) -> Diversification:
    try:
        return Diversification(field)
    except ValueError:
        known = ", ".join(scheme.value for scheme in Diversification)
        raise _FieldFaultError(f"is none of: {known}") from None


PARSERS: tuple[Callable[[str], object], ...] = (
    _parse_hex(1, 32),
    _parse_hex(KDD_LENGTH, KDD_LENGTH),
    _parse_hex(5, 16),
    _parse_kvn,
    _parse_option(SCP02),
    _parse_option(SCP03),
    _parse_name,
    _parse_diversification,
    _parse_name,
)
