"""A campaign's filter as SQL: which security domains it is about.

Rules: one condition over `security_domains` joined with `cards`; key sets are asked for by EXISTS, so that a domain
comes once however many sets it holds.
"""

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import aliased

from kms.db.models import CardRow, KeySetRow, KeyUpdateRow, SecurityDomainRow, TransferRow
from kms.domain.campaigns import Campaign, CampaignFilter
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import OPEN_STATES, UpdateReason

IN_FORCE = (Delivery.PROVED, Delivery.FACTORY)
Condition = ColumnElement[bool]


def build_condition(campaign: Campaign) -> Condition:
    """The security domains that the campaign is about, whether or not they have an open update."""
    chosen = campaign.chosen
    given = [CardRow.state == CardState.ENROLLED, SecurityDomainRow.state == DomainState.KEYED, *_narrow(chosen)]
    if campaign.reason is UpdateReason.COMPROMISE:
        given += _build_compromised(campaign)
    else:
        given.append(_build_in_force(campaign))
    return and_(*given)


def build_open() -> Condition:
    """Whether the security domain has an open update."""
    return exists().where(
        KeyUpdateRow.security_domain_id == SecurityDomainRow.id, KeyUpdateRow.state.in_(sorted(OPEN_STATES))
    )


def build_replaceable(no_route: tuple[str, ...]) -> Condition:
    """Whether a compromised security domain gets new initial keys with nobody deciding: `CampaignFilter.no_route`.

    Through an ISD whose own keys are in order; at another issuer's card by asking that issuer.
    """
    isd = aliased(KeySetRow)
    through_isd = and_(
        SecurityDomainRow.parent_id.is_not(None),
        CardRow.profile.not_in(no_route),
        exists().where(
            isd.security_domain_id == SecurityDomainRow.parent_id,
            isd.state == KeyState.ACTIVE,
            isd.delivery.in_(IN_FORCE),
        ),
    )
    through_issuer = and_(
        SecurityDomainRow.parent_id.is_(None), exists().where(TransferRow.security_domain_id == SecurityDomainRow.id)
    )
    return and_(SecurityDomainRow.kind == DomainKind.SSD, or_(through_isd, through_issuer))


def build_below(master_id: str) -> Condition:
    """Whether the security domain holds a compromised set of the master, and none in force that may be trusted."""
    marked, good = aliased(KeySetRow), aliased(KeySetRow)
    return and_(
        exists().where(
            marked.master_id == master_id,
            marked.security_domain_id == SecurityDomainRow.id,
            marked.state == KeyState.COMPROMISED,
        ),
        ~exists().where(
            good.security_domain_id == SecurityDomainRow.id,
            good.state == KeyState.ACTIVE,
            good.delivery.in_(IN_FORCE),
        ),
    )


def _build_compromised(campaign: Campaign) -> list[Condition]:
    return [build_below(campaign.master_id or ""), build_replaceable(campaign.chosen.no_route)]


def _build_in_force(campaign: Campaign) -> Condition:
    chosen = campaign.chosen
    key_set = select(KeySetRow.id).where(
        KeySetRow.security_domain_id == SecurityDomainRow.id,
        KeySetRow.state == KeyState.ACTIVE,
        KeySetRow.delivery.in_(IN_FORCE),
    )
    if chosen.master_id is not None:
        key_set = key_set.where(KeySetRow.master_id == chosen.master_id)
    if chosen.key_type is not None:
        key_set = key_set.where(KeySetRow.key_type == chosen.key_type)
    if campaign.reason is UpdateReason.KEY_TYPE:
        key_set = key_set.where(KeySetRow.key_type != campaign.key_type)  # who has the type already needs nothing
    if chosen.expired_by is not None:
        key_set = key_set.where(KeySetRow.expires_at <= chosen.expired_by)
    return key_set.exists()


def _narrow(chosen: CampaignFilter) -> list[Condition]:
    given: list[Condition] = []
    if chosen.kind is not None:
        given.append(SecurityDomainRow.kind == chosen.kind)
    if chosen.managed_by is not None:
        given.append(SecurityDomainRow.managed_by == chosen.managed_by)
    if chosen.profile is not None:
        given.append(CardRow.profile == chosen.profile)
    if chosen.batch is not None:
        given.append(CardRow.batch == chosen.batch)
    if chosen.first_identity is not None:
        given.append(CardRow.identity >= chosen.first_identity)
    if chosen.last_identity is not None:
        given.append(CardRow.identity <= chosen.last_identity)
    if chosen.identities:
        given.append(CardRow.identity.in_(chosen.identities))
    if chosen.aid_prefix is not None:
        given.append(SecurityDomainRow.aid >= chosen.aid_prefix)
        # AIDs have at most 16 bytes: nothing that begins with the prefix comes after it and FF to the end.
        given.append(SecurityDomainRow.aid <= chosen.aid_prefix + b"\xff" * (16 - len(chosen.aid_prefix)))
    return given
