"""Campaigns and compromised masters: the same over the fake that service tests use and both databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.card.keys import KeyType
from kms.domain.campaigns import Campaign, CampaignFilter, CampaignState
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.compromises import Remedy
from kms.domain.keys import Delivery, KeyState
from kms.domain.transfers import Transfer, TransferReason, TransferSide, TransferState
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import VisitState
from kms.service.ports import Store
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
)
from tests.fakes.stores import DATABASES, open_store_on

CARDS = 4
OLD, NEW = build_master(1, name="old"), build_master(2, name="new")


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Four cards, each an ISD under the new master and an SSD under the old one. SSD n is `ssd(n)`."""
    if request.param == "memory":
        memory = MemoryStore()
        fill(memory)
        yield memory
        return
    with open_store_on(request.param, tmp_path) as real:
        fill(real)
        yield real


def isd(number: int) -> str:
    return build_id(2000 + 10 * number + 1)


def ssd(number: int) -> str:
    return build_id(2000 + 10 * number + 2)


def fill(store: Store) -> None:
    with store.transaction() as tx:
        tx.master_keys.add_all([OLD, NEW])
        tx.terminals.add(build_terminal())
        for number in range(1, CARDS + 1):
            card = build_card(
                number, batch="spring" if number == 1 else "", profile="odd" if number == 2 else "default"
            )
            tx.cards.add(card)
            tx.security_domains.add_all(
                [
                    build_isd(10 * number + 1, card_id=card.id),
                    build_domain(10 * number + 2, card_id=card.id, parent_id=isd(number)),
                ]
            )
            tx.key_sets.add_all(
                [
                    build_key_set(10 * number + 1, security_domain_id=isd(number), master_id=NEW.id),
                    build_key_set(10 * number + 2, security_domain_id=ssd(number), master_id=OLD.id),
                ]
            )


def build_campaign(**changes: Any) -> Campaign:  # noqa: ANN401 - any field of the record
    campaign = Campaign(
        id=build_id(12_001),
        name="spring-clean",
        reason=UpdateReason.FORCED,
        state=CampaignState.FILLING,
        chosen=CampaignFilter(kind=DomainKind.SSD),
        created_at=NOW,
        created_by="cli:operator",
        released_until=NOW,
    )
    return replace(campaign, **changes)


def count(store: Store, **chosen: Any) -> int:  # noqa: ANN401 - any condition
    with store.transaction() as tx:
        return tx.campaigns.count_matching(build_campaign(chosen=CampaignFilter(**chosen))).matched


def run(store: Store, campaign: Campaign, *, limit: int = 100) -> int:
    """Fill a campaign whole and let it run; returns how many updates it has."""
    added = 0
    with store.transaction() as tx:
        tx.campaigns.add(campaign)
    while True:
        with store.transaction() as tx:
            filled = tx.campaigns.fill(campaign, due_at=NOW, limit=limit, at=NOW)
            if not filled.last:
                tx.campaigns.save(replace(campaign, state=CampaignState.RUNNING))
                return added
            assert filled.matched <= limit
            added += filled.added
            campaign = replace(campaign, cursor=filled.last)


def served(store: Store, number: int) -> int:
    with store.transaction() as tx:
        return len(tx.key_updates.list_open_for_card(build_card(number).id))


def test_a_campaign_comes_back_as_it_was_stored(store: Store) -> None:
    chosen = CampaignFilter(
        kind=DomainKind.SSD,
        profile="default",
        batch="spring",
        first_identity=b"\x01",
        last_identity=b"\xff",
        identities=(b"\x02", b"\x03"),
        aid_prefix=b"\xa0",
        managed_by="issuer",
        master_id=OLD.id,
        key_type=KeyType.DES2,
        expired_by=NOW,
        no_route=("odd",),
    )
    campaign = build_campaign(
        chosen=chosen, deadline=NOW, per_day=3, key_type=KeyType.AES128, master_id=OLD.id, max_failures=2, max_percent=9
    )
    with store.transaction() as tx:
        tx.campaigns.add(campaign)
    with store.transaction() as tx:
        assert tx.campaigns.get(campaign.id) == campaign
        assert tx.campaigns.find_by_name("spring-clean") == campaign
        assert tx.campaigns.find_by_name("other") is None
        assert list(tx.campaigns.list_in([CampaignState.FILLING])) == [campaign]
        assert not tx.campaigns.list_in([CampaignState.DONE])


def test_every_condition_narrows(store: Store) -> None:
    identity = build_card(3).identity
    assert count(store) == 2 * CARDS
    assert count(store, kind=DomainKind.SSD) == CARDS
    assert count(store, profile="odd") == 2
    assert count(store, batch="spring") == 2
    assert count(store, first_identity=identity) == 4
    assert count(store, last_identity=identity) == 6
    assert count(store, identities=(identity, build_card(1).identity)) == 4
    assert count(store, aid_prefix=build_domain(12).aid) == 1
    assert count(store, managed_by="another") == 0
    assert count(store, master_id=OLD.id) == CARDS
    assert count(store, key_type=KeyType.AES128) == 0
    assert count(store, expired_by=NOW + timedelta(days=365)) == 2 * CARDS
    assert count(store, expired_by=NOW) == 0


def test_only_keyed_domains_of_cards_in_service_count(store: Store) -> None:
    with store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(build_card(1).id), state=CardState.QUARANTINED))
        tx.security_domains.save(replace(tx.security_domains.get(ssd(2)), state=DomainState.HANDED_OVER))
        tx.key_sets.save(replace(tx.key_sets.get(build_id(4032)), state=KeyState.COMPROMISED))
    assert count(store, kind=DomainKind.SSD) == 1


def test_a_move_to_a_key_type_leaves_out_who_has_it(store: Store) -> None:
    with store.transaction() as tx:
        tx.key_sets.save(replace(tx.key_sets.get(build_id(4012)), key_type=KeyType.AES128))
        campaign = build_campaign(reason=UpdateReason.KEY_TYPE, key_type=KeyType.AES128)
        assert tx.campaigns.count_matching(campaign).matched == CARDS - 1


def test_filling_goes_by_batches_and_gives_nobody_a_second_update(store: Store) -> None:
    with store.transaction() as tx:
        tx.key_updates.add(build_update(1, security_domain_id=ssd(2)))
        found = tx.campaigns.count_matching(build_campaign())
        assert (found.matched, found.added) == (CARDS, CARDS - 1)
    campaign = build_campaign(deadline=NOW + timedelta(days=9), key_type=KeyType.AES128)
    assert run(store, campaign, limit=3) == CARDS - 1
    with store.transaction() as tx:
        (update,) = tx.key_updates.list_for_domain(ssd(1))
        assert (update.campaign_id, update.deadline, update.key_type) == (
            campaign.id,
            campaign.deadline,
            KeyType.AES128,
        )
        assert (update.state, update.due_at, update.requested_by) == (UpdateState.PENDING, NOW, "cli:operator")
        assert len(tx.key_updates.list_for_domain(ssd(2))) == 1
    assert run(store, build_campaign(id=build_id(12_002), name="again")) == 0


@pytest.mark.parametrize("state", [item for item in CampaignState if item is not CampaignState.RUNNING])
def test_a_campaign_that_does_not_run_serves_no_card(store: Store, state: CampaignState) -> None:
    run(store, build_campaign())
    assert served(store, 1) == 1
    with store.transaction() as tx:
        tx.campaigns.save(build_campaign(state=state))
    assert served(store, 1) == 0
    with store.transaction() as tx:
        assert not tx.cards.list_pending()
        (update,) = tx.key_updates.list_for_domain(ssd(2))
        tx.key_updates.save(replace(update, state=UpdateState.RUNNING))
    assert served(store, 2) == 1  # what a visit began may end
    with store.transaction() as tx:
        tx.campaigns.save(build_campaign(state=CampaignState.RUNNING))
    assert served(store, 1) == 1


def test_what_is_not_released_yet_is_not_served(store: Store) -> None:
    run(store, build_campaign())
    with store.transaction() as tx:
        (update,) = tx.key_updates.list_for_domain(ssd(1))
        tx.key_updates.save(replace(update, due_at=NOW + timedelta(days=1)))
    assert served(store, 1) == 0
    with store.transaction() as tx:
        running = build_campaign(state=CampaignState.RUNNING, released_until=NOW + timedelta(days=1))
        tx.campaigns.save(running)
    assert served(store, 1) == 1


def test_counts_say_what_became_of_the_updates(store: Store) -> None:
    run(store, build_campaign(deadline=NOW + timedelta(days=1)))
    later = NOW + timedelta(days=2)
    with store.transaction() as tx:
        (first,) = tx.key_updates.list_for_domain(ssd(1))
        tx.key_updates.save(replace(first, state=UpdateState.DONE, finished_at=NOW + timedelta(hours=1)))
        counts = tx.campaigns.count_updates(build_campaign().id, later)
    assert counts.by_state == {UpdateState.DONE: 1, UpdateState.PENDING: 3}
    assert (counts.open, counts.overdue, counts.oldest_open) == (3, 3, NOW)
    assert counts.last_activity == NOW + timedelta(hours=1)
    with store.transaction() as tx:
        assert tx.campaigns.count_updates(build_id(1), NOW).total == 0


def test_cancelling_leaves_what_a_visit_began(store: Store) -> None:
    run(store, build_campaign())
    with store.transaction() as tx:
        (first,) = tx.key_updates.list_for_domain(ssd(1))
        tx.key_updates.save(replace(first, state=UpdateState.RUNNING))
        assert tx.campaigns.cancel_pending(build_campaign().id, at=NOW, why="enough", limit=2) == 2
        assert tx.campaigns.cancel_pending(build_campaign().id, at=NOW, why="enough", limit=2) == 1
        assert tx.campaigns.cancel_pending(build_campaign().id, at=NOW, why="enough", limit=2) == 0
        counts = tx.campaigns.count_updates(build_campaign().id, NOW)
    assert counts.by_state == {UpdateState.RUNNING: 1, UpdateState.CANCELLED: 3}


def mark_all(store: Store, master_id: str) -> tuple[int, int, int]:
    totals, after = (0, 0, 0), ""
    while True:
        with store.transaction() as tx:
            batch = tx.compromises.mark(master_id, after=after, limit=3, at=NOW)
        if not batch.last:
            return totals
        after = batch.last
        totals = (totals[0] + batch.key_sets, totals[1] + batch.visits, totals[2] + batch.updates)


class TestCompromise:
    def test_everything_below_is_marked_visits_end_and_updates_go(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.visits.add(build_visit(1, order="{}", program="{}"))
            tx.key_sets.add(
                build_key_set(90, security_domain_id=ssd(1), delivery=Delivery.REPLACED, state=KeyState.DEACTIVATED)
            )
            tx.key_updates.add(build_update(1, security_domain_id=ssd(1)))
            tx.key_updates.add(build_update(2, security_domain_id=isd(1)))
            before = tx.cards.get(build_card(1).id)
        assert mark_all(store, OLD.id) == (CARDS + 1, 1, 1)
        with store.transaction() as tx:
            assert {item.state for item in tx.key_sets.list_for_domain(ssd(1))} == {KeyState.COMPROMISED}
            assert [item.state for item in tx.key_sets.list_for_domain(isd(1))] == [KeyState.ACTIVE]
            visit = tx.visits.get(build_visit(1).id)
            assert (visit.state, visit.order, visit.program) == (VisitState.FENCED, None, None)
            assert tx.cards.get(before.id).version > before.version
            states = [tx.key_updates.get(build_update(number).id).state for number in (1, 2)]
            assert states == [UpdateState.CANCELLED, UpdateState.PENDING]
        assert mark_all(store, OLD.id) == (0, 0, 0)

    def test_what_was_sent_under_it_or_may_be_in_force_beside_it_goes_too(self, store: Store) -> None:
        doubt = build_key_set(91, security_domain_id=ssd(1), master_id=NEW.id, delivery=Delivery.IN_DOUBT)
        never = build_key_set(92, security_domain_id=ssd(1), master_id=NEW.id, delivery=Delivery.PLANNED, kcvs=())
        mine = build_key_set(93, security_domain_id=isd(2), master_id=OLD.id, delivery=Delivery.IN_DOUBT)
        changes: dict[str, Any] = {"state": KeyState.PRE_ACTIVATION, "expires_at": None, "proved_at": None}
        with store.transaction() as tx:
            tx.key_sets.add_all([replace(item, **changes) for item in (doubt, never, mine)])
        mark_all(store, OLD.id)
        with store.transaction() as tx:
            assert tx.key_sets.get(doubt.id).state is KeyState.COMPROMISED
            assert tx.key_sets.get(never.id).state is KeyState.PRE_ACTIVATION
            # Which of the two the ISD holds nobody may ask it any more.
            assert {item.state for item in tx.key_sets.list_for_domain(isd(2))} == {KeyState.COMPROMISED}

    def test_an_update_lets_go_of_a_planned_set_and_first_keys_go_on(self, store: Store) -> None:
        planned = build_key_set(94, security_domain_id=ssd(1), delivery=Delivery.PLANNED, kcvs=(), expires_at=None)
        planned = replace(planned, state=KeyState.PRE_ACTIVATION)
        update = build_update(1, security_domain_id=ssd(1), reason=UpdateReason.INITIAL, new_key_set_id=planned.id)
        with store.transaction() as tx:
            tx.key_sets.add(planned)
            tx.key_updates.add(update)
        mark_all(store, OLD.id)
        with store.transaction() as tx:
            found = tx.key_updates.get(update.id)
        assert (found.state, found.new_key_set_id) == (UpdateState.PENDING, None)

    def test_the_campaign_is_about_what_nobody_is_needed_for(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.cards.save(replace(tx.cards.get(build_card(1).id), state=CardState.QUARANTINED))
            good = build_key_set(95, security_domain_id=ssd(3), master_id=NEW.id)
            tx.key_sets.save(
                replace(tx.key_sets.get(build_id(4032)), delivery=Delivery.REPLACED, state=KeyState.DEACTIVATED)
            )
            tx.key_sets.add(good)
        mark_all(store, OLD.id)
        campaign = build_campaign(
            reason=UpdateReason.COMPROMISE, master_id=OLD.id, chosen=CampaignFilter(no_route=("odd",))
        )
        assert run(store, campaign) == 1
        with store.transaction() as tx:
            affected = tx.compromises.count_affected(OLD.id, ("odd",))
            found = tx.compromises.list_affected(OLD.id, ("odd",), remedies=(), limit=10, offset=0)
            page = tx.compromises.list_affected(OLD.id, ("odd",), remedies=(Remedy.NO_ROUTE,), limit=10, offset=0)
        assert [item.remedy for item in found] == [Remedy.SET_ASIDE, Remedy.NO_ROUTE, Remedy.DONE, Remedy.CAMPAIGN]
        assert [item.card for item in page] == [build_card(2).identity]
        assert affected.for_officers == 2
        assert sum(affected.by_remedy.values()) == CARDS

    def test_isds_are_for_officers_and_nothing_goes_through_them(self, store: Store) -> None:
        mark_all(store, NEW.id)
        mark_all(store, OLD.id)
        campaign = build_campaign(reason=UpdateReason.COMPROMISE, master_id=NEW.id, chosen=CampaignFilter())
        with store.transaction() as tx:
            assert tx.campaigns.count_matching(campaign).matched == 0
            assert tx.compromises.count_affected(NEW.id, ()).by_remedy == {Remedy.ISD: CARDS}
            assert tx.compromises.count_affected(OLD.id, ()).by_remedy == {Remedy.NO_ROUTE: CARDS}

    def test_a_providers_issuer_is_asked_once(self, store: Store) -> None:
        transfer = Transfer(
            id=build_id(13_001),
            side=TransferSide.PROVIDER,
            peer="issuer",
            reason=TransferReason.CREATE,
            card_identity=build_card(1).identity,
            aid=build_domain(12).aid,
            privileges=b"\x80",
            key_type=KeyType.DES2,
            state=TransferState.CLOSED,
            requested_at=NOW - timedelta(days=1),
            security_domain_id=ssd(1),
        )
        with store.transaction() as tx:
            tx.transfers.add(transfer)
            for number in (1, 2):
                tx.security_domains.save(replace(tx.security_domains.get(ssd(number)), parent_id=None))
        mark_all(store, OLD.id)
        mark_all(store, OLD.id)
        with store.transaction() as tx:
            _, asked = tx.transfers.list_for_card(build_card(1).identity)
            assert (asked.state, asked.reason) == (TransferState.REQUESTED, TransferReason.REKEY)
            assert (asked.security_domain_id, asked.peer, asked.aid) == (ssd(1), "issuer", transfer.aid)
            assert not tx.transfers.list_for_card(build_card(2).identity)
            affected = tx.compromises.count_affected(OLD.id, ())
        assert affected.by_remedy[Remedy.NO_ISSUER] == 1

    def test_what_hangs_on_a_master(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.key_sets.save(
                replace(tx.key_sets.get(build_id(4012)), delivery=Delivery.REPLACED, state=KeyState.DEACTIVATED)
            )
            tx.key_sets.add(build_key_set(86, security_domain_id=ssd(1), delivery=Delivery.PLANNED, kcvs=()))
            tx.key_updates.add(build_update(1, security_domain_id=ssd(2)))
            use = tx.compromises.find_use(OLD.id)
            none = tx.compromises.find_use(build_id(1))
        assert (use.live, use.planned, use.past, use.open_updates) == (CARDS - 1, 1, 1, 1)
        assert use.last_end == NOW + timedelta(days=365)
        assert (none.live, none.last_end) == (0, None)
