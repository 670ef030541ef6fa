"""Reads who a card is: its identity for the server, and for `identify` what an operator must know to enrol it.

Rules: nothing here changes a card or spends an authentication attempt: SELECT, GET DATA and INITIALIZE UPDATE only. All
that a card answers is checked for its form, and is otherwise believed: the server proves cards, a terminal cannot.
"""

import csv
import io
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from terminal.card import Card
from terminal.config import IdentitySource
from terminal.errors import TerminalCode, TerminalError
from terminal.tlv import find_value, parse_tlvs

CSV_HEADER = (
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
_SELECT_DEFAULT = bytes.fromhex("00A4040000")  # GP 2.3.1 section 11.9: no AID selects the Issuer Security Domain
_SCP_OID = bytes.fromhex("2A864886FC6B04")  # {globalPlatform 4 scp i}, GP 2.3.1 table H-1
_SCP02, _SCP03 = 2, 3
_IIN, _CIN, _CPLC, _RECOGNITION, _KEYS = 0x0042, 0x0045, 0x9F7F, 0x0066, 0x00E0


@dataclass(frozen=True)
class KeyInfo:
    """One key of the key information template: version and identifier, and its components as (type, bytes)."""

    kvn: int
    kid: int
    components: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CardDetails:
    """What `identify` shows. `candidates`: the identity by each source the card answers; `kdd`: 10 bytes or None.

    `scp02_i`, `scp03_i`: the "i" of each secure channel protocol in the card recognition data, where they are absent
    SCP03's of INITIALIZE UPDATE; `kvn`: the key version that answered INITIALIZE UPDATE.
    """

    identity: bytes
    source: IdentitySource
    candidates: tuple[tuple[IdentitySource, bytes], ...]
    isd_aid: bytes | None
    scp02_i: int | None
    scp03_i: int | None
    keys: tuple[KeyInfo, ...]
    kdd: bytes | None
    kvn: int | None
    atr: bytes = field(default=b"")


def read_identity(card: Card, order: Sequence[IdentitySource]) -> bytes:
    """Read the identity from the first source that the card answers.

    Raises `card.identity-missing` when it answers none, `card.*` and `reader.*` as the card does.
    """
    select_default(card)
    for source in order:
        identity = find_identity(card, source)
        if identity is not None:
            return identity
    raise _missing(order)


def read_details(card: Card, order: Sequence[IdentitySource], atr: bytes = b"") -> CardDetails:
    """Read all that `identify` shows; raises as `read_identity`."""
    fci = select_default(card)
    candidates = tuple((source, identity) for source in order if (identity := find_identity(card, source)) is not None)
    if not candidates:
        raise _missing(order)
    protocols = parse_protocols(_find_data(card, _RECOGNITION) or b"")
    keys = parse_key_information(_find_data(card, _KEYS) or b"")
    answer = _find_handshake(card)
    has_kdd = answer is not None and len(answer) >= 13  # kdd (10), key version, protocol: GP 2.3.1 table E-6
    if answer is not None and has_kdd and not protocols and answer[11] == _SCP03:
        protocols = {_SCP03: answer[12]}  # SCP03 says its "i" itself (Amendment D section 7.1.1.6)
    return CardDetails(
        identity=candidates[0][1],
        source=candidates[0][0],
        candidates=candidates,
        isd_aid=find_value(fci, 0x6F, 0x84),
        scp02_i=protocols.get(_SCP02),
        scp03_i=protocols.get(_SCP03),
        keys=keys,
        kdd=answer[:10] if answer is not None and has_kdd else None,
        kvn=answer[10] if answer is not None and has_kdd else None,
        atr=atr,
    )


def select_default(card: Card) -> bytes:
    """SELECT the Issuer Security Domain without naming it; return its FCI."""
    answer = _find_answer(card, _SELECT_DEFAULT)
    if answer is None:
        raise TerminalError(
            TerminalCode.CARD_IDENTITY,
            "The card has no GlobalPlatform Issuer Security Domain that can be selected.",
            "Present a GlobalPlatform card; if it is one, its issuer has locked or ended it.",
        )
    return answer


def find_identity(card: Card, source: IdentitySource) -> bytes | None:
    """Read the identity from one source; None when the card does not answer it in full."""
    if source is IdentitySource.IIN_CIN:
        iin, cin = _find_data(card, _IIN), _find_data(card, _CIN)
        return iin + cin if iin and cin else None
    cplc = _find_data(card, _CPLC)
    if cplc is None or len(cplc) < 18:
        return None
    # IC fabricator (0..2), IC type (2..4), IC serial number (12..16), IC batch identifier (16..18)
    return cplc[0:4] + cplc[12:18]


def parse_protocols(recognition: bytes) -> dict[int, int]:
    """Parse the value of tag 66 (GP 2.3.1 table H-1), 66 { 73 { 64 { 06 OID } .. } }: "i" by secure channel protocol.

    A protocol that the card names with several options is left out, what is ill-formed gives nothing.
    """
    try:
        objects = [value for tag, value in parse_tlvs(find_value(recognition, 0x73) or b"") if tag == 0x64]
        oids = [value for item in objects for tag, value in parse_tlvs(item) if tag == 0x06]
    except ValueError:
        return {}
    found: dict[int, set[int]] = {}
    for oid in oids:
        if oid.startswith(_SCP_OID) and len(oid) >= len(_SCP_OID) + 2:
            option = 0
            for byte in oid[len(_SCP_OID) + 1 :]:  # "i" is an arc: seven bits a byte (X.690 section 8.19.2)
                option = option << 7 | byte & 0x7F
            found.setdefault(oid[len(_SCP_OID)], set()).add(option)
    return {scp: options.pop() for scp, options in found.items() if len(options) == 1}


def _find_handshake(card: Card) -> bytes | None:
    """The answer to INITIALIZE UPDATE: with 8 bytes of challenge, or the 16 that SCP03's S16 mode takes."""
    for length in (8, 16):
        challenge = secrets.token_bytes(length)
        answer = _find_answer(card, bytes((0x80, 0x50, 0x00, 0x00, length)) + challenge + b"\x00")
        if answer is not None:
            return answer
    return None


def parse_key_information(template: bytes) -> tuple[KeyInfo, ...]:
    """Parse the value of tag E0 (GP 2.3.1 section 11.3.3.1): C0 { kid kvn (type length)+ }; ill-formed: empty."""
    try:
        entries = [value for tag, value in parse_tlvs(template) if tag == 0xC0]
    except ValueError:
        return ()
    return tuple(
        KeyInfo(entry[1], entry[0], tuple(zip(entry[2::2], entry[3::2], strict=False)))
        for entry in entries
        if len(entry) >= 4
    )


def build_csv(details: CardDetails, vendor_master: str = "", diversification: str = "", profile: str = "") -> str:
    """Build header and row for the server's `kms cards import`; what the card did not say stays empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    writer.writerow(
        (
            details.identity.hex().upper(),
            (details.kdd or b"").hex().upper(),
            (details.isd_aid or b"").hex().upper(),
            _hex_byte(details.kvn),
            _hex_byte(details.scp02_i),
            _hex_byte(details.scp03_i),
            vendor_master,
            diversification,
            profile,
        )
    )
    return text.getvalue()


def _hex_byte(value: int | None) -> str:
    return "" if value is None else f"{value:02X}"


def _find_data(card: Card, tag: int) -> bytes | None:
    """GET DATA, as value: some cards wrap it in its tag, others answer it bare. None when the card has none."""
    answer = _find_answer(card, bytes((0x80, 0xCA, tag >> 8, tag & 0xFF, 0x00)))
    if answer is None:
        answer = _find_answer(card, bytes((0x00, 0xCA, tag >> 8, tag & 0xFF, 0x00)))
    if not answer:
        return None
    try:
        items = parse_tlvs(answer)
    except ValueError:
        return answer
    return items[0][1] if len(items) == 1 and items[0][0] == tag else answer


def _find_answer(card: Card, command: bytes) -> bytes | None:
    """Send a command; its response data, None unless 9000 (62xx and 63xx, warnings, count as an answer too)."""
    response = card.transmit(command)
    if len(response) < 2 or not (response[-2:] == b"\x90\x00" or response[-2] in (0x62, 0x63)):
        return None
    return response[:-2]


def _missing(order: Sequence[IdentitySource]) -> TerminalError:
    return TerminalError(
        TerminalCode.CARD_IDENTITY,
        f"The card tells no identity (asked for: {', '.join(order)}).",
        "Add the source it has to identity.order in the configuration, or have its issuer personalise it.",
    )
