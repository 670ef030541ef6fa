"""Campaigns and compromised masters in memory, written from `kms/service/ports.py` alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any

from kms.domain.campaigns import Campaign, CampaignCounts, CampaignState, Filled
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.compromises import Affected, AffectedDomain, Marked, MasterUse, Remedy
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.transfers import OPEN_TRANSFERS, Transfer, TransferReason, TransferSide, TransferState
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.domain.visits import VisitState

IN_FORCE = (Delivery.PROVED, Delivery.FACTORY)
GOOD = (KeyState.PRE_ACTIVATION, KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED)
_IDS = count(1)


class Reader:
    """Questions about the tables. `tables`: the store's dictionaries by id."""

    def __init__(self, tables: Any) -> None:  # noqa: ANN401 - the store's tables, which import this module
        self.tables = tables

    def sets_of(self, domain_id: str) -> list[KeySet]:
        return [item for item in self.tables.key_sets.values() if item.security_domain_id == domain_id]

    def in_force(self, domain_id: str) -> list[KeySet]:
        sets = self.sets_of(domain_id)
        return [item for item in sets if item.state is KeyState.ACTIVE and item.delivery in IN_FORCE]

    def is_owed(self, domain: SecurityDomain) -> bool:
        mine = (item for item in self.tables.key_updates.values() if item.security_domain_id == domain.id)
        return any(item.state in OPEN_STATES for item in mine)

    def is_replaceable(self, domain: SecurityDomain, no_route: tuple[str, ...]) -> bool:
        if domain.kind is not DomainKind.SSD:
            return False
        if domain.parent_id is None:
            return any(item.security_domain_id == domain.id for item in self.tables.transfers.values())
        card: Card = self.tables.cards[domain.card_id]
        return card.profile not in no_route and bool(self.in_force(domain.parent_id))

    def is_lost(self, domain: SecurityDomain, master_id: str) -> bool:
        marked = [
            item
            for item in self.sets_of(domain.id)
            if item.master_id == master_id and item.state is KeyState.COMPROMISED
        ]
        return bool(marked) and not self.in_force(domain.id)


class MemoryCampaigns:
    """`kms.service.ports.CampaignRepository`."""

    def __init__(self, tables: Any) -> None:  # noqa: ANN401 - as above
        self._tables = tables
        self._read = Reader(tables)

    def find_by_name(self, name: str) -> Campaign | None:
        return next((item for item in self._tables.campaigns.values() if item.name == name), None)

    def list_in(self, states: Sequence[CampaignState]) -> Sequence[Campaign]:
        found = [item for item in self._tables.campaigns.values() if item.state in states]
        return sorted(found, key=lambda item: (item.created_at, item.id))

    def count_matching(self, campaign: Campaign) -> Filled:
        found = list(self._match(campaign))
        return Filled("", len(found), sum(not self._read.is_owed(item) for item in found))

    def fill(self, campaign: Campaign, *, due_at: datetime, limit: int, at: datetime) -> Filled:
        found = [item for item in self._match(campaign) if item.id > campaign.cursor][:limit]
        added = [item for item in found if not self._read.is_owed(item)]
        for domain in added:
            update = KeyUpdate(
                id=f"campaign-update-{next(_IDS):06d}",
                security_domain_id=domain.id,
                reason=campaign.reason,
                state=UpdateState.PENDING,
                requested_at=at,
                requested_by=campaign.created_by,
                due_at=due_at,
                deadline=campaign.deadline,
                campaign_id=campaign.id,
                key_type=campaign.key_type,
            )
            self._tables.key_updates[update.id] = update
        return Filled(found[-1].id if found else "", len(found), len(added))

    def count_updates(self, campaign_id: str, now: datetime) -> CampaignCounts:
        mine = [item for item in self._tables.key_updates.values() if item.campaign_id == campaign_id]
        waiting = [item for item in mine if item.state in OPEN_STATES]
        return CampaignCounts(
            Counter(item.state for item in mine),
            min((item.requested_at for item in waiting), default=None),
            max((item.finished_at for item in mine if item.finished_at is not None), default=None),
            sum(item.is_overdue(now) for item in mine),
        )

    def cancel_pending(self, campaign_id: str, *, at: datetime, why: str, limit: int) -> int:
        mine = [
            item
            for item in self._tables.key_updates.values()
            if item.campaign_id == campaign_id and item.state is UpdateState.PENDING
        ]
        for item in mine[:limit]:
            gone = replace(item, state=UpdateState.CANCELLED, finished_at=at, failure=why)
            self._tables.key_updates[item.id] = gone
        return len(mine[:limit])

    def _match(self, campaign: Campaign) -> Iterator[SecurityDomain]:
        domains = sorted(self._tables.security_domains.values(), key=lambda item: item.id)
        return (item for item in domains if self._fits(campaign, item, self._tables.cards[item.card_id]))

    def _fits(self, campaign: Campaign, domain: SecurityDomain, card: Card) -> bool:
        chosen = campaign.chosen
        compromise = campaign.reason is UpdateReason.COMPROMISE
        return all(
            (
                card.state is CardState.ENROLLED,
                domain.state is DomainState.KEYED,
                chosen.kind in {None, domain.kind},
                chosen.managed_by in {None, domain.managed_by},
                chosen.profile in {None, card.profile},
                chosen.batch in {None, card.batch},
                chosen.first_identity is None or card.identity >= chosen.first_identity,
                chosen.last_identity is None or card.identity <= chosen.last_identity,
                not chosen.identities or card.identity in chosen.identities,
                chosen.aid_prefix is None or domain.aid.startswith(chosen.aid_prefix),
                not compromise
                or (
                    self._read.is_lost(domain, campaign.master_id or "")
                    and self._read.is_replaceable(domain, chosen.no_route)
                ),
                compromise or any(self._wants(campaign, item) for item in self._read.in_force(domain.id)),
            )
        )

    @staticmethod
    def _wants(campaign: Campaign, key_set: KeySet) -> bool:
        chosen = campaign.chosen
        ends = key_set.expires_at
        return (
            chosen.master_id in {None, key_set.master_id}
            and chosen.key_type in {None, key_set.key_type}
            and (campaign.reason is not UpdateReason.KEY_TYPE or key_set.key_type is not campaign.key_type)
            and (chosen.expired_by is None or (ends is not None and ends <= chosen.expired_by))
        )


class MemoryCompromises:
    """`kms.service.ports.Compromises`."""

    def __init__(self, tables: Any) -> None:  # noqa: ANN401 - as above
        self._tables = tables
        self._read = Reader(tables)

    def mark(self, master_id: str, *, after: str, limit: int, at: datetime) -> Marked:
        below = [item for item in self._tables.key_sets.values() if item.master_id == master_id and item.state in GOOD]
        domains = sorted({item.security_domain_id for item in below if item.security_domain_id > after})[:limit]
        total = Counter[str]()
        for domain_id in domains:
            total.update(self._mark_domain(self._tables.security_domains[domain_id], master_id, at))
        return Marked(domains[-1] if domains else "", len(domains), **total)

    def _mark_domain(self, domain: SecurityDomain, master_id: str, at: datetime) -> dict[str, int]:
        may_be_there = [item for item in self._read.sets_of(domain.id) if item.state in GOOD and _may_be_there(item)]
        is_open = any(item.master_id == master_id for item in may_be_there)
        marked = [
            item
            for item in self._read.sets_of(domain.id)
            if item.state in GOOD and (item.master_id == master_id or (is_open and item in may_be_there))
        ]
        for item in marked:
            self._tables.key_sets[item.id] = replace(item, state=KeyState.COMPROMISED)
        card = self._tables.cards[domain.card_id]
        self._tables.cards[card.id] = replace(card, version=card.version + 1)
        done = {"key_sets": len(marked), "visits": 0, "updates": 0, "transfers": 0}
        why = "the key set it would have run under is compromised"
        for visit in list(self._tables.visits.values()):
            if visit.card_id == card.id and visit.state is VisitState.OPEN:
                fenced = replace(visit, state=VisitState.FENCED, order=None, program=None, result=why)
                self._tables.visits[visit.id] = fenced
                done["visits"] += 1
        gone = {item.id for item in self._read.sets_of(domain.id) if item.state is KeyState.COMPROMISED}
        for update in list(self._tables.key_updates.values()):
            if update.security_domain_id != domain.id or update.state not in OPEN_STATES:
                continue
            changed = replace(update, new_key_set_id=None) if update.new_key_set_id in gone else update
            if update.reason not in (UpdateReason.INITIAL, UpdateReason.COMPROMISE) and self._read.is_lost(
                domain, master_id
            ):
                changed = replace(changed, state=UpdateState.CANCELLED, finished_at=at, failure=why)
                done["updates"] += 1
            self._tables.key_updates[update.id] = changed
        done["transfers"] = self._ask_issuer(domain, master_id, at)
        return done

    def _ask_issuer(self, domain: SecurityDomain, master_id: str, at: datetime) -> int:
        mine: list[Transfer] = sorted(
            (item for item in self._tables.transfers.values() if item.security_domain_id == domain.id),
            key=lambda item: (item.requested_at, item.id),
        )
        waits = any(item.state in OPEN_TRANSFERS - {TransferState.CONTROLLED} for item in mine)
        lost = self._read.is_lost(domain, master_id) and domain.state is DomainState.KEYED
        if not mine or waits or not lost or domain.parent_id is not None:
            return 0
        again = replace(
            mine[-1],
            id=f"transfer-{next(_IDS):06d}",
            side=TransferSide.PROVIDER,
            reason=TransferReason.REKEY,
            state=TransferState.REQUESTED,
            requested_at=at,
            envelope=None,
            session_id="",
            refusal="",
            handed_over_at=None,
            closed_at=None,
        )
        self._tables.transfers[again.id] = again
        return 1

    def find_use(self, master_id: str) -> MasterUse:
        mine = [item for item in self._tables.key_sets.values() if item.master_id == master_id]
        past = [item for item in mine if item.delivery is Delivery.REPLACED or item.state is KeyState.DESTROYED]
        planned = [item for item in mine if item.delivery is Delivery.PLANNED and not item.kcvs and item not in past]
        live = [item for item in mine if item not in past and item not in planned]
        domains = {item.security_domain_id for item in live}
        updates = self._tables.key_updates.values()
        waiting = sum(item.state in OPEN_STATES and item.security_domain_id in domains for item in updates)
        ends = max((item.expires_at for item in live if item.expires_at is not None), default=None)
        return MasterUse(len(live), len(planned), len(past), waiting, ends)

    def count_affected(self, master_id: str, no_route: tuple[str, ...]) -> Affected:
        return Affected(Counter(item.remedy for item in self._list(master_id, no_route)))

    def list_affected(
        self, master_id: str, no_route: tuple[str, ...], *, remedies: Sequence[Remedy], limit: int, offset: int
    ) -> Sequence[AffectedDomain]:
        found = [item for item in self._list(master_id, no_route) if not remedies or item.remedy in remedies]
        return sorted(found, key=lambda item: (item.card, item.aid))[offset : offset + limit]

    def _list(self, master_id: str, no_route: tuple[str, ...]) -> list[AffectedDomain]:
        found = []
        for domain in self._tables.security_domains.values():
            sets = self._read.sets_of(domain.id)
            if any(item.master_id == master_id and item.state is KeyState.COMPROMISED for item in sets):
                card = self._tables.cards[domain.card_id]
                remedy = self._find_remedy(domain, card, no_route)
                found.append(AffectedDomain(card.identity, domain.aid, domain.kind, remedy))
        return found

    def _find_remedy(self, domain: SecurityDomain, card: Card, no_route: tuple[str, ...]) -> Remedy:
        replaceable = self._read.is_replaceable(domain, no_route)
        answers = (
            (domain.state is DomainState.HANDED_OVER, Remedy.NOT_KEYED),
            (bool(self._read.in_force(domain.id)), Remedy.DONE),
            (card.state is not CardState.ENROLLED, Remedy.SET_ASIDE),
            (domain.kind is DomainKind.ISD, Remedy.ISD),
            (domain.state is not DomainState.KEYED, Remedy.NOT_KEYED),
            (replaceable and self._read.is_owed(domain), Remedy.CAMPAIGN),
            (domain.parent_id is None and not replaceable, Remedy.NO_ISSUER),
            (replaceable, Remedy.FAILED),
        )
        return next((remedy for holds, remedy in answers if holds), Remedy.NO_ROUTE)


def _may_be_there(key_set: KeySet) -> bool:
    unsettled = key_set.delivery in (Delivery.PLANNED, Delivery.IN_FLIGHT, Delivery.IN_DOUBT)
    if unsettled:
        return bool(key_set.kcvs)
    return key_set.state is KeyState.ACTIVE and key_set.delivery in IN_FORCE
