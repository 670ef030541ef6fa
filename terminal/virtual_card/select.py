"""SELECT (GP231 section 11.9): by AID, whole or partial, or by file identifier."""

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.model import CARD_LOCKED, INSTALLED, SecurityDomain
from terminal.virtual_card.session import CardRuntime
from terminal.virtual_card.status import NOT_FOUND, WRONG_LENGTH, WRONG_P1P2, CardError
from terminal.virtual_card.tlv import build_tlv
from terminal.virtual_card.uicc import select_file

# ISO 7816-4 Table 40: first or next occurrence; FCI (00), FCP (04: GlobalPlatform cards answer their FCI) or nothing.
NO_ANSWER = 0x0C


def select(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Select a security domain and return its FCI; an unknown name changes nothing."""
    if command.p1 == 0x00:
        return select_file(runtime, command.data)
    if command.p1 != 0x04 or command.p2 not in {0x00, 0x02, 0x04, 0x06, 0x0C}:
        raise CardError(WRONG_P1P2)
    if len(command.data) > 16:
        raise CardError(WRONG_LENGTH)
    domain = _find(runtime, command.data, is_next=bool(command.p2 & 0x03))
    runtime.select(domain.aid)
    return b"" if command.p2 & NO_ANSWER == NO_ANSWER else build_fci(domain.aid)


def build_fci(aid: bytes) -> bytes:
    """Return the file control information: AID, and the greatest command data length of 255 bytes."""
    return build_tlv(0x6F, build_tlv(0x84, aid) + build_tlv(0xA5, build_tlv(0x9F65, b"\xff")))


def _is_selectable(runtime: CardRuntime, domain: SecurityDomain) -> bool:
    isd = runtime.state.isd
    if domain.aid == isd.aid:
        return True
    # GP231 section 5.1.1.5: of a locked card only the ISD answers.
    return isd.life_cycle != CARD_LOCKED and domain.life_cycle != INSTALLED and not domain.is_locked


def _find(runtime: CardRuntime, name: bytes, *, is_next: bool) -> SecurityDomain:
    """Return the domain meant by a name: a full match before a partial one, in the order of the registry."""
    domains = [item for item in runtime.state.domains if _is_selectable(runtime, item)]
    matches = [item for item in domains if item.aid.startswith(name)]
    if is_next:
        aids = [item.aid for item in matches]
        position = aids.index(runtime.selected_aid) + 1 if runtime.selected_aid in aids else 0
        matches = matches[position:]
    else:
        matches.sort(key=lambda item: item.aid != name)
    if not matches:
        raise CardError(NOT_FOUND)
    return matches[0]
