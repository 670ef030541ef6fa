"""SELECT by AID (GP Card Specification 2.3.1 section 11.9).

Rules: the answer is read for information only; it is not authenticated.
"""

from dataclasses import dataclass

from kms.card.apdu import CommandApdu
from kms.card.commands.fields import CLA_ISO, LE_ALL, check_aid
from kms.card.status import INS_SELECT
from kms.card.tlv import find_tlv, get_tlv, parse_tlv
from kms.errors import Code, KmsError


@dataclass(frozen=True)
class SelectResponse:
    """File control information. `aid`: what was selected; `max_command_data`: the card's limit (tag 9F65), if told."""

    aid: bytes
    max_command_data: int | None


def build_select(aid: bytes = b"", *, next_occurrence: bool = False) -> CommandApdu:
    """Build SELECT by AID: 5-16 bytes, or none for the default application, which is the ISD on a fresh channel.

    `next_occurrence`: the next one whose AID starts so, not the first. Raises `card.apdu-invalid`.
    """
    if aid:
        check_aid(aid, "selected")
    return CommandApdu(CLA_ISO, INS_SELECT, 0x04, 0x02 if next_occurrence else 0x00, aid, LE_ALL)


def parse_select_response(data: bytes) -> SelectResponse:
    """Parse the file control information 6F { 84 AID, A5 { .. 9F65 .. } } (GP 2.3.1 section 11.9.3).

    Raises `card.tlv-invalid`, and `card.protocol-violation` for another template or an impossible AID.
    """
    fci = parse_tlv(data)
    if fci.tag != 0x6F:
        raise KmsError(Code.CARD_PROTOCOL, f"SELECT was answered with a template {fci.tag:02X} instead of 6F")
    tlvs = fci.children()
    aid = get_tlv(tlvs, 0x84).value
    if not 5 <= len(aid) <= 16:
        raise KmsError(Code.CARD_PROTOCOL, f"SELECT was answered with an AID of {len(aid)} bytes")
    proprietary = find_tlv(tlvs, 0xA5)
    limit = find_tlv(proprietary.children(), 0x9F65) if proprietary else None
    return SelectResponse(aid, int.from_bytes(limit.value, "big") if limit else None)
