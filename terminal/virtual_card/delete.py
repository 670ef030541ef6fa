"""DELETE (GP231 section 11.2): keys, and supplementary security domains."""

from dataclasses import replace
from typing import Final

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.authority import (
    GLOBAL_DELETE,
    check_authorized_management,
    get_supplementary,
    has_authority,
)
from terminal.virtual_card.install import CONFIRMATION
from terminal.virtual_card.key_store import take_keys
from terminal.virtual_card.model import CardState, SecurityDomain
from terminal.virtual_card.session import CardRuntime
from terminal.virtual_card.status import (
    CONDITIONS_NOT_SATISFIED,
    REFERENCED_DATA_NOT_FOUND,
    WRONG_DATA,
    WRONG_P1P2,
    CardError,
)
from terminal.virtual_card.tlv import parse_tlvs

TAG_AID: Final = 0x4F
TAG_KID: Final = 0xD0
TAG_KVN: Final = 0xD2
WITH_RELATED: Final = 0x80


def delete(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Delete what the data name; raise CardError 6A88 when there is no such thing."""
    if command.p1 or command.p2 not in {0x00, WITH_RELATED}:
        raise CardError(WRONG_P1P2)
    objects = dict(parse_tlvs(command.data))
    if TAG_AID in objects:
        # A delete token (9E) or a control template (B6) may follow; with authorized management nothing asks for it.
        if not objects.keys() <= {TAG_AID, 0x9E, 0xB6}:
            raise CardError(WRONG_DATA)
        runtime.state = _delete_domain(runtime.state, runtime.selected, objects[TAG_AID], with_related=bool(command.p2))
    elif objects and objects.keys() <= {TAG_KID, TAG_KVN} and all(len(value) == 1 for value in objects.values()):
        kid = objects[TAG_KID][0] if TAG_KID in objects else None
        kvn = objects[TAG_KVN][0] if TAG_KVN in objects else None
        runtime.state = _delete_keys(runtime.state, runtime.selected, kid, kvn)
    else:
        raise CardError(WRONG_DATA)
    return CONFIRMATION


def _delete_keys(state: CardState, domain: SecurityDomain, kid: int | None, kvn: int | None) -> CardState:
    """Delete one key, a set, or one identifier in every set. The ISD never gives up its last way in."""
    changed = domain
    for key_set in domain.key_sets:
        if kvn in {None, key_set.kvn}:
            kids = frozenset(key.kid for key in key_set.keys if kid in {None, key.kid})
            changed = take_keys(changed, key_set.kvn, kids)
    if changed == domain:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    if domain.aid == state.isd.aid and not changed.has_scp_key_set:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return state.with_domain(changed)


def _delete_domain(state: CardState, actor: SecurityDomain, aid: bytes, *, with_related: bool) -> CardState:
    check_authorized_management(state, actor)
    domain = get_supplementary(state, aid)
    if domain.aid == actor.aid or not has_authority(state, actor, domain, GLOBAL_DELETE):
        raise CardError(CONDITIONS_NOT_SATISFIED)
    below = {item.aid for item in state.domains if domain in state.iter_ancestors(item)}
    if below and (not with_related or actor.aid in below):
        raise CardError(CONDITIONS_NOT_SATISFIED)
    gone = below | {domain.aid}
    return replace(state, domains=tuple(item for item in state.domains if item.aid not in gone))
