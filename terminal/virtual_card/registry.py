"""GET STATUS and SET STATUS (GP231 sections 11.4 and 11.10): the card's registry and life cycles."""

from dataclasses import replace
from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.authority import (
    CARD_LOCK,
    GLOBAL_LOCK,
    GLOBAL_REGISTRY,
    get_supplementary,
    has_authority,
)
from terminal.virtual_card.install import DOMAIN_PACKAGES
from terminal.virtual_card.model import (
    CARD_LOCKED,
    INITIALIZED,
    LOCKED_BIT,
    OP_READY,
    PERSONALIZED,
    SECURED,
    SELECTABLE,
    TERMINATED,
    CardState,
    SecurityDomain,
)
from terminal.virtual_card.session import CardRuntime
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    MORE_DATA_AVAILABLE,
    REFERENCED_DATA_NOT_FOUND,
    SUCCESS,
    WRONG_DATA,
    WRONG_P1P2,
    CardError,
)
from terminal.virtual_card.tlv import build_tlv, parse_tlvs

SCOPE_ISD: Final = 0x80
SCOPE_APPLICATIONS: Final = 0x40
SCOPE_LOAD_FILES: Final = 0x20
SCOPE_LOAD_FILES_AND_MODULES: Final = 0x10
SCOPE_DOMAIN_AND_APPLICATIONS: Final = 0x60
# Room for an R-MAC stays within 256 bytes of response data.
PAGE_LENGTH: Final = 240

# From, to: the card's own life cycle runs forward, but CARD_LOCKED goes back to SECURED (GP231 section 5.1.1).
CARD_TRANSITIONS: Final = frozenset(
    {(OP_READY, INITIALIZED), (INITIALIZED, SECURED), (SECURED, CARD_LOCKED), (CARD_LOCKED, SECURED)}
)


def get_status(runtime: CardRuntime, command: CommandApdu) -> tuple[bytes, int]:
    """List registry entries by scope (P1) and AID prefix; return one page and 9000, or 6310 when more is left."""
    if command.p2 & ~0x03:
        raise CardError(WRONG_P1P2)
    if command.p2 & 0x01:
        entries = runtime.status_rest
    else:
        runtime.status_rest = ()
        entries = _list_entries(runtime, command)
    if not entries:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    page = b""
    while entries and len(page) + len(entries[0]) <= PAGE_LENGTH:
        page, entries = page + entries[0], entries[1:]
    runtime.status_rest = entries
    return page, MORE_DATA_AVAILABLE if entries else SUCCESS


def _list_entries(runtime: CardRuntime, command: CommandApdu) -> tuple[bytes, ...]:
    scope = command.p1
    if scope not in {SCOPE_ISD, SCOPE_APPLICATIONS, SCOPE_LOAD_FILES, SCOPE_LOAD_FILES_AND_MODULES}:
        raise CardError(WRONG_P1P2)
    criteria = parse_tlvs(command.data)
    if not criteria or criteria[0][0] != 0x4F or len(criteria[0][1]) > 16:
        raise CardError(WRONG_DATA)
    prefix = criteria[0][1]
    tag_list = dict(criteria[1:]).get(0x5C)
    state, actor = runtime.state, runtime.selected
    # The package of security domains is part of the card and not registered, so load files are never listed.
    if scope == SCOPE_ISD:
        domains = state.domains[:1] if actor.has_privilege(*GLOBAL_REGISTRY) else ()
    elif scope == SCOPE_APPLICATIONS:
        domains = tuple(
            item
            for item in state.domains[1:]
            if item.aid == actor.aid or has_authority(state, actor, item, GLOBAL_REGISTRY)
        )
    else:
        domains = ()
    found = [item for item in domains if item.aid.startswith(prefix)]
    if command.p2 & 0x02:
        return tuple(_build_entry(item, tag_list, is_isd=scope == SCOPE_ISD) for item in found)
    # GP231 Table 11-34 (deprecated): length, AID, life cycle, one byte of privileges.
    return tuple(bytes([len(item.aid)]) + item.aid + bytes([item.life_cycle]) + item.privileges[:1] for item in found)


def _build_entry(domain: SecurityDomain, tag_list: bytes | None, *, is_isd: bool) -> bytes:
    """Return one E3 template (GP231 Table 11-36) with the objects asked for; without a tag list, with all it has."""
    objects = {
        0x4F: domain.aid,
        0x9F70: bytes([domain.life_cycle]),
        0xC5: domain.privileges,
    }
    if not is_isd:
        objects[0xC4] = next(iter(DOMAIN_PACKAGES))
        objects[0xCC] = domain.parent_aid
    wanted = _parse_tag_list(tag_list) if tag_list is not None else objects.keys()
    return build_tlv(0xE3, b"".join(build_tlv(tag, value) for tag, value in objects.items() if tag in wanted))


def _parse_tag_list(tag_list: bytes) -> frozenset[int]:
    tags = set()
    rest = iter(tag_list)
    for first in rest:
        tags.add(first << 8 | next(rest, 0) if first & 0x1F == 0x1F else first)
    return frozenset(tags)


def set_status(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Move the life cycle of the card (P1 80), of a domain (40), or of a domain and all below it (60) to P2."""
    state, actor = runtime.state, runtime.selected
    if command.p1 == SCOPE_ISD:
        runtime.state = _set_card_status(state, actor, command.p2)
    elif command.p1 in {SCOPE_APPLICATIONS, SCOPE_DOMAIN_AND_APPLICATIONS}:
        target = get_supplementary(state, command.data)
        targets = [target]
        if command.p1 == SCOPE_DOMAIN_AND_APPLICATIONS:
            targets += [item for item in state.domains if target in state.iter_ancestors(item)]
        for item in targets:
            state = state.with_domain(_set_domain_status(state, actor, item, command.p2))
        runtime.state = state
    else:
        raise CardError(WRONG_P1P2)
    return b""


def _set_card_status(state: CardState, actor: SecurityDomain, life_cycle: int) -> CardState:
    isd = state.isd
    if not actor.has_privilege(*CARD_LOCK):
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if life_cycle not in {OP_READY, INITIALIZED, SECURED, CARD_LOCKED, TERMINATED}:
        raise CardError(WRONG_P1P2)
    if life_cycle != TERMINATED and (isd.life_cycle, life_cycle) not in CARD_TRANSITIONS:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return state.with_domain(replace(isd, life_cycle=life_cycle))


def _set_domain_status(
    state: CardState, actor: SecurityDomain, domain: SecurityDomain, life_cycle: int
) -> SecurityDomain:
    """Lock (b8 of the new state set), unlock (back to the state before), or declare PERSONALIZED."""
    is_above = has_authority(state, actor, domain, GLOBAL_LOCK) and actor.aid != domain.aid
    if life_cycle & LOCKED_BIT or domain.is_locked:
        if not is_above:
            raise CardError(CONDITIONS_NOT_SATISFIED)
        return replace(domain, life_cycle=domain.life_cycle & ~LOCKED_BIT | life_cycle & LOCKED_BIT)
    if (domain.life_cycle, life_cycle) != (SELECTABLE, PERSONALIZED) or not (is_above or actor.aid == domain.aid):
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return replace(domain, life_cycle=life_cycle)
