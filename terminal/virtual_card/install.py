"""INSTALL (GP231 section 11.5): for install, for make selectable, for personalization, for extradition.

The package and module of security domains are part of the card; there is nothing else to install from.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.authority import (
    AUTHORIZED_MANAGEMENT,
    DELEGATED_MANAGEMENT,
    GLOBAL_REGISTRY,
    SECURITY_DOMAIN,
    check_authorized_management,
    check_not_locked,
    get_supplementary,
    has_authority,
)
from terminal.virtual_card.model import INSTALLED, PERSONALIZED, SELECTABLE, CardState, SecurityDomain
from terminal.virtual_card.session import CardRuntime, Personalization
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    NO_ROOM,
    REFERENCED_DATA_NOT_FOUND,
    WRONG_DATA,
    WRONG_P1P2,
    CardError,
)
from terminal.virtual_card.tlv import parse_tlvs, read_byte, read_bytes, read_lv

# The names registered for security domains: today's, and those of cards before GP 2.1.1.
DOMAIN_PACKAGES: Final = {
    bytes.fromhex("A0000001515350"): bytes.fromhex("A000000151535041"),
    bytes.fromhex("A0000000035350"): bytes.fromhex("A000000003535041"),
}
FOR_INSTALL: Final = 0x04
FOR_MAKE_SELECTABLE: Final = 0x08
FOR_EXTRADITION: Final = 0x10
FOR_PERSONALIZATION: Final = 0x20
# GP231 Table 11-49: application, system, token CRT and TS 102 226 parameters.
PARAMETER_TAGS: Final = frozenset({0xC9, 0xEF, 0xB6, 0xEA})
CONFIRMATION: Final = b"\x00"  # a confirmation of length zero: receipts are not generated


@dataclass(frozen=True)
class InstallFields:
    """The six length-value fields that every form of INSTALL has."""

    load_file_aid: bytes
    module_aid: bytes
    instance_aid: bytes
    privileges: bytes
    parameters: bytes = field(repr=False)
    token: bytes = field(repr=False)


def parse_install_fields(data: bytes) -> InstallFields:
    """Read the fields to the last byte; raise CardError 6A80."""
    offset = 0
    fields = []
    for _ in range(4):
        value, offset = read_bytes(data, offset + 1, read_byte(data, offset))
        fields.append(value)
    parameters, offset = read_lv(data, offset)
    token, offset = read_lv(data, offset)
    if offset != len(data):
        raise CardError(WRONG_DATA)
    return InstallFields(fields[0], fields[1], fields[2], fields[3], parameters, token)


def install(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Do what P1 says; raise CardError 6A86 for a combination that the card does not offer."""
    if command.p2:
        raise CardError(WRONG_P1P2)
    runtime.personalization = None
    fields = parse_install_fields(command.data)
    if command.p1 == FOR_PERSONALIZATION:
        _begin_personalization(runtime, fields)
    elif command.p1 == FOR_EXTRADITION:
        runtime.state = _extradite(runtime.state, runtime.selected, fields)
    elif command.p1 == FOR_MAKE_SELECTABLE:
        runtime.state = _make_selectable(runtime.state, runtime.selected, fields)
    elif command.p1 in {FOR_INSTALL, FOR_INSTALL | FOR_MAKE_SELECTABLE}:
        if len(runtime.state.domains) > runtime.personality.max_domains:
            raise CardError(NO_ROOM)
        life_cycle = SELECTABLE if command.p1 & FOR_MAKE_SELECTABLE else INSTALLED
        runtime.state = _install(runtime.state, runtime.selected, fields, life_cycle)
    else:
        raise CardError(WRONG_P1P2)
    return CONFIRMATION


def _parse_privileges(data: bytes) -> bytes:
    """Return three privilege bytes; one byte stands for Trusted Path besides it (GP231 section 6.6.2)."""
    if len(data) not in {1, 3}:
        raise CardError(WRONG_DATA)
    privileges = data if len(data) == 3 else data + b"\x80\x00"
    if not privileges[0] & SECURITY_DOMAIN[1]:
        raise CardError(WRONG_DATA)
    if privileges[0] & DELEGATED_MANAGEMENT[1] and privileges[1] & AUTHORIZED_MANAGEMENT[1]:
        raise CardError(WRONG_DATA)  # the two exclude each other
    return privileges


def _check_parameters(parameters: bytes) -> None:
    """Raise CardError 6A80 unless these are the known templates with C9 among them (it may be empty)."""
    tags = [tag for tag, _value in parse_tlvs(parameters)]
    if 0xC9 not in tags or not PARAMETER_TAGS.issuperset(tags):
        raise CardError(WRONG_DATA)


def _install(state: CardState, actor: SecurityDomain, fields: InstallFields, life_cycle: int) -> CardState:
    check_authorized_management(state, actor)
    if DOMAIN_PACKAGES.get(fields.load_file_aid) != fields.module_aid:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    # GP231 section 11.5.2.3.2: without an instance AID the module's is taken.
    aid = fields.instance_aid or fields.module_aid
    if not 5 <= len(aid) <= 16:
        raise CardError(WRONG_DATA)
    if state.find_domain(aid) is not None or aid in DOMAIN_PACKAGES:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    privileges = _parse_privileges(fields.privileges)
    _check_parameters(fields.parameters)
    return replace(state, domains=(*state.domains, SecurityDomain(aid, actor.aid, life_cycle, privileges)))


def _make_selectable(state: CardState, actor: SecurityDomain, fields: InstallFields) -> CardState:
    check_authorized_management(state, actor)
    domain = get_supplementary(state, fields.instance_aid)
    if domain.life_cycle != INSTALLED:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return state.with_domain(replace(domain, life_cycle=SELECTABLE))


def _begin_personalization(runtime: CardRuntime, fields: InstallFields) -> None:
    """Name the receiver of the STORE DATA commands that follow; it must be associated with the selected domain."""
    domain = get_supplementary(runtime.state, fields.instance_aid)
    if domain.parent_aid != runtime.selected_aid:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    check_not_locked(domain)
    if domain.life_cycle == INSTALLED:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    runtime.personalization = Personalization(domain.aid)


def _extradite(state: CardState, actor: SecurityDomain, fields: InstallFields) -> CardState:
    """Associate a domain with another one, or with itself: then it is the root of a hierarchy of its own."""
    check_authorized_management(state, actor)
    moved = get_supplementary(state, fields.instance_aid)
    if not has_authority(state, actor, moved, GLOBAL_REGISTRY):
        raise CardError(CONDITIONS_NOT_SATISFIED)
    target = state.find_domain(fields.load_file_aid)
    if target is None:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    is_ready = target.aid == state.isd.aid or target.life_cycle == PERSONALIZED
    makes_circle = target.aid != moved.aid and moved.aid in {item.aid for item in state.iter_ancestors(target)}
    if not is_ready or makes_circle:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return state.with_domain(replace(moved, parent_aid=target.aid))
