"""GET DATA and what it returns: key information, card recognition data, sequence counter, CPLC, card identity.

Rules: GET DATA needs no authentication, so its answers inform and never prove (GP Card Specification 2.3.1 section
11.3). No key values or check values are among them.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import NamedTuple

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, LE_ALL
from kms.card.status import INS_GET_DATA
from kms.card.tlv import get_tlv, parse_tlv, parse_tlvs
from kms.errors import Code, KmsError

_EXTENDED = 0xFF
# {iso(1) member-body(2) us(840) GlobalPlatform(114283) 4}: the arcs that follow are the protocol and its "i".
_OID_SCP = bytes.fromhex("2A864886FC6B04")
_CPLC_LENGTH = 42


class DataTag(IntEnum):
    """Data objects of a security domain (GP 2.3.1 section 11.3.2)."""

    IIN = 0x42
    CIN = 0x45
    CARD_RECOGNITION = 0x66
    KEY_INFORMATION = 0xE0
    SEQUENCE_COUNTER = 0xC1
    CPLC = 0x9F7F


class ScpOption(NamedTuple):
    """A secure channel protocol (2, 3) with its "i" parameter."""

    scp: int
    i: int


@dataclass(frozen=True)
class KeyInformation:
    """One key on the card. `components`: (key type code, length in bytes) each; `usage`, `access`: if extended."""

    kid: int
    kvn: int
    components: tuple[tuple[int, int], ...]
    usage: bytes = b""
    access: bytes = b""


@dataclass(frozen=True)
class Cplc:
    """Card production life cycle data: 42 bytes that the makers of a card write into it (Open Platform; tag 9F7F)."""

    ic_fabricator: bytes
    ic_type: bytes
    os_id: bytes
    os_release_date: bytes
    os_release_level: bytes
    ic_fabrication_date: bytes
    ic_serial_number: bytes
    ic_batch_identifier: bytes
    ic_module_fabricator: bytes
    ic_module_packaging_date: bytes
    icc_manufacturer: bytes
    ic_embedding_date: bytes
    ic_pre_personalizer: bytes
    ic_pre_personalization_date: bytes
    ic_pre_personalization_equipment: bytes
    ic_personalizer: bytes
    ic_personalization_date: bytes
    ic_personalization_equipment: bytes


_CPLC_FIELDS = tuple(item.name for item in fields(Cplc))
_CPLC_FOUR_BYTES = ("ic_serial_number", "ic_pre_personalization_equipment", "ic_personalization_equipment")


def build_get_data(tag: int) -> CommandApdu:
    """Build GET DATA for a data object of the selected domain. `tag`: 1 or 2 bytes. Raises `card.apdu-invalid`."""
    if not 0 < tag <= 0xFFFF:
        raise KmsError(Code.APDU_INVALID, "GET DATA names a tag of one or two bytes")
    return CommandApdu(CLA_GP, INS_GET_DATA, tag >> 8, tag & 0xFF, le=LE_ALL)


def parse_data_object(data: bytes, tag: int) -> bytes:
    """Parse the answer to GET DATA: exactly the data object asked for; returns its content.

    Raises `card.tlv-invalid`, and `card.protocol-violation` for another object.
    """
    tlv = parse_tlv(data)
    if tlv.tag != tag:
        raise KmsError(Code.CARD_PROTOCOL, f"GET DATA {tag:02X} was answered with an object {tlv.tag:02X}")
    return tlv.value


def parse_key_information(data: bytes) -> tuple[KeyInformation, ...]:
    """Parse the key information template E0 { C0 .. } in the order of the card (GP 2.3.1 section 11.3.3).

    Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    entries: list[KeyInformation] = []
    for number, tlv in enumerate(parse_tlvs(parse_data_object(data, DataTag.KEY_INFORMATION)), start=1):
        if tlv.tag != 0xC0:
            raise KmsError(Code.CARD_PROTOCOL, f"key information holds an object {tlv.tag:02X} instead of C0")
        entries.append(_parse_key_entry(tlv.value, number))
    return tuple(entries)


def parse_card_recognition(data: bytes) -> tuple[ScpOption, ...]:
    """Parse card recognition data 66 { 73 { .. 64 { OID } .. } }: the protocols the card offers (GP 2.3.1 section H.2).

    Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    recognition = get_tlv(parse_tlvs(parse_data_object(data, DataTag.CARD_RECOGNITION)), 0x73)
    oids = (oid for tlv in recognition.children() if tlv.tag == 0x64 for oid in tlv.children() if oid.tag == 0x06)
    return tuple(_parse_scp_oid(oid.value) for oid in oids)


def parse_sequence_counter(data: bytes) -> int:
    """Parse the sequence counter of the default key version: C1 with 2 bytes (SCP02) or 3 (SCP03).

    Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    counter = parse_data_object(data, DataTag.SEQUENCE_COUNTER)
    if len(counter) not in (2, 3):
        raise KmsError(Code.CARD_PROTOCOL, f"the sequence counter has {len(counter)} bytes instead of 2 or 3")
    return int.from_bytes(counter, "big")


def parse_cplc(data: bytes) -> Cplc:
    """Parse the CPLC data: 9F7F with 42 bytes, or these bytes alone. Raises as `parse_data_object` does."""
    content = data if len(data) == _CPLC_LENGTH else parse_data_object(data, DataTag.CPLC)
    if len(content) != _CPLC_LENGTH:
        raise KmsError(Code.CARD_PROTOCOL, f"CPLC data have {len(content)} bytes instead of {_CPLC_LENGTH}")
    values: dict[str, bytes] = {}
    offset = 0
    for name in _CPLC_FIELDS:
        end = offset + (4 if name in _CPLC_FOUR_BYTES else 2)
        values[name] = content[offset:end]
        offset = end
    return Cplc(**values)


def _parse_scp_oid(oid: bytes) -> ScpOption:
    arcs: list[int] = []
    arc = 0
    if oid.startswith(_OID_SCP) and not oid[-1] & 0x80:
        for byte in oid[len(_OID_SCP) :]:
            arc = arc << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(arc)
                arc = 0
    if len(arcs) != 2:
        raise KmsError(Code.CARD_PROTOCOL, "card recognition data name a secure channel protocol in an unknown way")
    return ScpOption(arcs[0], arcs[1])


def _parse_key_entry(entry: bytes, number: int) -> KeyInformation:
    broken = KmsError(Code.CARD_PROTOCOL, f"entry {number} of the key information is broken")
    if len(entry) < 4:
        raise broken
    kid, kvn, rest = entry[0], entry[1], entry[2:]
    if rest[0] != _EXTENDED:
        if len(rest) % 2 or _EXTENDED in rest[::2]:
            raise broken
        return KeyInformation(kid, kvn, tuple(zip(rest[::2], rest[1::2], strict=True)))
    # Extended form: type FFxx and length, 2 bytes each, per component; then usage and access with a length each.
    components: list[tuple[int, int]] = []
    while rest[:1] == b"\xff" and len(rest) >= 4:
        components.append((int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")))
        rest = rest[4:]
    usage_end = 1 + rest[0] if rest else 0
    usage, access = rest[1:usage_end], rest[usage_end:]
    if not components or not access or len(rest) < usage_end or access[0] != len(access) - 1:
        raise broken
    return KeyInformation(kid, kvn, tuple(components), usage, access[1:])
