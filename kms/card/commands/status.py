"""GET STATUS and SET STATUS: the card's registry (GP Card Specification 2.3.1 sections 11.4 and 11.10).

Rules: the TLV format (P2 = 02) is asked for; the answer of older cards in the GP 2.1.1 format is understood too.
"""

from dataclasses import dataclass
from enum import IntEnum

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_GP, LE_ALL, check_aid
from kms.card.status import INS_GET_STATUS, INS_SET_STATUS
from kms.card.tlv import Tlv, build_tlv, find_tlv, get_tlv, parse_tlvs
from kms.errors import Code, KmsError

_TAG_ENTRY = 0xE3


class StatusScope(IntEnum):
    """P1: which part of the registry (GP 2.3.1 sections 11.4.2 and 11.10.2)."""

    ISSUER = 0x80
    APPLICATIONS = 0x40  # supplementary security domains included
    LOAD_FILES = 0x20
    LOAD_FILES_AND_MODULES = 0x10


class DomainLifeCycle(IntEnum):
    """Life cycle of a security domain (GP 2.3.1 section 11.1.1). Cards add bits: compare, do not convert."""

    INSTALLED = 0x03
    SELECTABLE = 0x07
    PERSONALIZED = 0x0F


@dataclass(frozen=True)
class RegistryEntry:
    """One entry. `privileges`: 1 or 3 bytes, empty if not told; `associated_sd`: AID of its domain, if told.

    `modules`: AIDs of a load file's modules; `load_file_aid`: what an application was made from, if told.
    """

    aid: bytes
    life_cycle: int
    privileges: bytes
    associated_sd: bytes | None = None
    load_file_aid: bytes | None = None
    modules: tuple[bytes, ...] = ()


def build_get_status(scope: StatusScope, aid: bytes = b"", *, next_occurrence: bool = False) -> CommandApdu:
    """Build GET STATUS in TLV format. `aid`: all or the first bytes of the AIDs looked for, none for all (0-16 bytes).

    `next_occurrence`: go on after an answer 6310. Raises `card.apdu-invalid`.
    """
    if len(aid) > 16:
        raise KmsError(Code.APDU_INVALID, "an AID has at most 16 bytes")
    p2 = 0x02 | (0x01 if next_occurrence else 0x00)
    return CommandApdu(CLA_GP, INS_GET_STATUS, scope, p2, build_tlv(0x4F, aid), LE_ALL)


def parse_get_status(data: bytes) -> tuple[RegistryEntry, ...]:
    """Parse the entries of one answer, in TLV format or in that of GP 2.1.1 (without modules).

    Raises `card.tlv-invalid` or `card.protocol-violation`.
    """
    # An AID length is at most 10 hexadecimal, so the first byte tells the formats apart.
    if data and data[0] <= 16:
        return _parse_old_entries(data)
    return tuple(_parse_entry(tlv) for tlv in parse_tlvs(data))


def build_set_status(scope: StatusScope, life_cycle: int, aid: bytes) -> CommandApdu:
    """Build SET STATUS: `life_cycle` is the state byte asked for. Raises `card.apdu-invalid`."""
    if scope not in (StatusScope.ISSUER, StatusScope.APPLICATIONS):
        raise KmsError(Code.APDU_INVALID, "SET STATUS is for the issuer's domain or an application only")
    check_aid(aid, "changed")
    return CommandApdu(CLA_GP, INS_SET_STATUS, scope, life_cycle, aid)


def _parse_entry(entry: Tlv) -> RegistryEntry:
    if entry.tag != _TAG_ENTRY:
        raise KmsError(Code.CARD_PROTOCOL, f"GET STATUS was answered with an object {entry.tag:02X} instead of E3")
    tlvs = entry.children()
    life_cycle = get_tlv(tlvs, 0x9F70).value
    privileges = find_tlv(tlvs, 0xC5)
    associated_sd = find_tlv(tlvs, 0xCC)
    load_file = find_tlv(tlvs, 0xC4)
    # Tag 9F70 has 1 byte, or 2 for an entry with contactless activation state (Amendment C), which is the second.
    if len(life_cycle) not in (1, 2):
        raise KmsError(Code.CARD_PROTOCOL, f"GET STATUS told a life cycle state of {len(life_cycle)} bytes")
    return RegistryEntry(
        aid=get_tlv(tlvs, 0x4F).value,
        life_cycle=life_cycle[0],
        privileges=privileges.value if privileges else b"",
        associated_sd=associated_sd.value if associated_sd else None,
        load_file_aid=load_file.value if load_file else None,
        modules=tuple(tlv.value for tlv in tlvs if tlv.tag == 0x84),
    )


def _parse_old_entries(data: bytes) -> tuple[RegistryEntry, ...]:
    entries: list[RegistryEntry] = []
    offset = 0
    while offset < len(data):
        aid_end = offset + 1 + data[offset]
        # GP 2.1.1 section 9.4.3: length, AID, life cycle state, privileges (1 byte).
        if aid_end + 2 > len(data) or not 5 <= data[offset] <= 16:
            raise KmsError(Code.CARD_PROTOCOL, f"GET STATUS was answered with a broken entry at offset {offset}")
        entries.append(RegistryEntry(data[offset + 1 : aid_end], data[aid_end], data[aid_end + 1 : aid_end + 2]))
        offset = aid_end + 2
    return tuple(entries)
