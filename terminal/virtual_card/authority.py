"""Who may manage whom: questions about privileges and hierarchy (GP231 sections 6.6 and 9)."""

from typing import Final

from terminal.virtual_card.model import LOCKED_BIT, PERSONALIZED, CardState, SecurityDomain
from terminal.virtual_card.status import CONDITIONS_NOT_SATISFIED, REFERENCED_DATA_NOT_FOUND, CardError

# (byte, bit) of a privilege, GP231 Tables 11-7 to 11-9.
SECURITY_DOMAIN: Final = (1, 0x80)
DELEGATED_MANAGEMENT: Final = (1, 0x20)
CARD_LOCK: Final = (1, 0x10)
AUTHORIZED_MANAGEMENT: Final = (2, 0x40)
GLOBAL_DELETE: Final = (2, 0x10)
GLOBAL_LOCK: Final = (2, 0x08)
GLOBAL_REGISTRY: Final = (2, 0x04)


def has_authority(
    state: CardState, actor: SecurityDomain, target: SecurityDomain, global_privilege: tuple[int, int]
) -> bool:
    """Tell whether `target` stands below `actor`, or `actor` may act on the whole card."""
    ancestors = {ancestor.aid for ancestor in state.iter_ancestors(target)}
    return actor.aid in ancestors or actor.has_privilege(*global_privilege)


def check_authorized_management(state: CardState, actor: SecurityDomain) -> None:
    """Raise CardError 6985 unless the domain may change card content: Authorized Management, and PERSONALIZED.

    Delegated Management needs a token, which this card does not verify.
    """
    is_ready = actor.aid == state.isd.aid or actor.life_cycle == PERSONALIZED
    if not (is_ready and actor.has_privilege(*AUTHORIZED_MANAGEMENT)):
        raise CardError(CONDITIONS_NOT_SATISFIED)


def get_supplementary(state: CardState, aid: bytes) -> SecurityDomain:
    """Return the supplementary domain with this AID; raise CardError 6A88 if none, 6985 for the ISD."""
    domain = state.find_domain(aid)
    if domain is None:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    if domain.aid == state.isd.aid:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    return domain


def check_not_locked(domain: SecurityDomain) -> None:
    """Raise CardError 6985 when a supplementary domain is LOCKED."""
    if domain.life_cycle & LOCKED_BIT:
        raise CardError(CONDITIONS_NOT_SATISFIED)
