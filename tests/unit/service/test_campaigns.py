"""Campaigns over a fleet in memory, and with one real card whose visits carry them out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kms.card.keys import KeyType
from kms.domain.campaigns import Campaign, CampaignFilter, CampaignState
from kms.domain.cards import DomainKind
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.orders import Order
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service import campaigns as module
from kms.service.campaigns import CampaignService, NewCampaign, find_master
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    CountingIdentifiers,
    TickingClock,
    build_card,
    build_domain,
    build_key_set,
    build_master,
    build_update,
)
from tests.fakes.scene import SSD_AID, Scene, build_scene

CARDS = 7
GENERATIONS = [build_master(n, name="ssd-keys", kind=MasterKind.SSD, generation=n) for n in (1, 2)]
ROTATION: dict[str, Any] = {"reason": UpdateReason.MASTER_ROTATION, "master": "ssd-keys", "generation": 1}
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def store() -> MemoryStore:
    """Cards with an SSD each under the first of two generations."""
    store = MemoryStore()
    with store.transaction() as tx:
        tx.master_keys.add_all(GENERATIONS)
        for number in range(1, CARDS + 1):
            card = build_card(number)
            domain = build_domain(number, card_id=card.id)
            tx.cards.add(card)
            tx.security_domains.add(domain)
            tx.key_sets.add(build_key_set(number, security_domain_id=domain.id, master_id=GENERATIONS[0].id))
    return store


@pytest.fixture
def service(store: MemoryStore, clock: TickingClock, monkeypatch: pytest.MonkeyPatch) -> CampaignService:
    monkeypatch.setattr(module, "BATCH", 3)
    return CampaignService(store=store, clock=clock, identifiers=CountingIdentifiers(), platform="issuer")


def ask(name: str = "spring-clean", **changes: Any) -> NewCampaign:  # noqa: ANN401 - any field
    return replace(NewCampaign(name, UpdateReason.FORCED, CampaignFilter()), **changes)


def create(service: CampaignService, **changes: Any) -> Campaign:  # noqa: ANN401 - any field
    return service.create(ask(**changes), actor="cli:operator")


def refuse(service: CampaignService, code: Code, **changes: Any) -> None:  # noqa: ANN401 - any field
    for call in (service.count, service.create):
        with pytest.raises(KmsError) as error:
            call(ask(**changes), actor="cli:operator")
        assert error.value.code is code


def actions(store: MemoryStore) -> list[str]:
    with store.transaction() as tx:
        return [event.action for event in reversed(tx.audit.list())]


def served(store: MemoryStore) -> int:
    with store.transaction() as tx:
        return len(tx.cards.list_pending())


def finish(store: MemoryStore, state: UpdateState, number: int) -> None:
    """That many of the open updates end so."""
    with store.transaction() as tx:
        waiting = [item for item in tx.key_updates.list() if item.state is UpdateState.PENDING][:number]
        for update in waiting:
            tx.key_updates.save(replace(update, state=state, finished_at=NOW))


def test_counting_first_writes_nothing(service: CampaignService, store: MemoryStore) -> None:
    with store.transaction() as tx:
        tx.key_updates.add(build_update(1, security_domain_id=build_domain(1).id))
    found = service.count(ask(), actor="cli:operator")
    assert (found.matched, found.added) == (CARDS, CARDS - 1)
    assert not service.list()
    assert not actions(store)


def test_a_campaign_is_filled_in_batches_and_runs(service: CampaignService, store: MemoryStore) -> None:
    steps: list[tuple[int, int]] = []
    campaign = service.create(ask(), actor="cli:operator", progress=lambda done, of: steps.append((done, of)))
    assert (campaign.state, campaign.matched, campaign.added) == (CampaignState.RUNNING, CARDS, CARDS)
    assert steps[0] == (3, CARDS)
    assert steps[-1] == (CARDS, CARDS)
    assert served(store) == CARDS
    assert actions(store) == ["campaign.create", "campaign.start"]


def test_filling_that_was_cut_off_serves_nothing_and_is_taken_up(service: CampaignService, store: MemoryStore) -> None:
    def cut(done: int, _of: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.create(ask(), actor="cli:operator", progress=cut)
    assert served(store) == 0
    assert service.report("spring-clean").campaign.state is CampaignState.FILLING
    campaign = service.resume("spring-clean", actor="cli:operator")
    assert (campaign.state, campaign.added) == (CampaignState.RUNNING, CARDS)


def test_filling_that_was_cut_off_is_finished_by_the_scheduler(
    service: CampaignService, store: MemoryStore, clock: TickingClock
) -> None:
    with pytest.raises(KeyboardInterrupt):
        service.create(ask(), actor="cli:operator", progress=interrupt)
    service.tend()  # somebody may still be at it
    assert served(store) == 0
    clock.move(minutes=10)
    assert service.tend() == "1 filled, 1 running, 0 stopped or done, 0 late updates cancelled"
    assert served(store) == CARDS
    assert actions(store) == ["campaign.create", "campaign.start"]


def interrupt(_done: int, _of: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "Spring"}, Code.INPUT_INVALID),
        ({"reason": UpdateReason.COMPROMISE}, Code.INPUT_INVALID),
        ({"reason": UpdateReason.EXPIRY}, Code.INPUT_INVALID),
        ({"reason": UpdateReason.MASTER_ROTATION, "master": "ssd-keys"}, Code.INPUT_INVALID),
        ({"key_type": KeyType.AES128}, Code.INPUT_INVALID),
        ({"reason": UpdateReason.KEY_TYPE}, Code.INPUT_INVALID),
        ({"deadline": NOW}, Code.INPUT_INVALID),
        ({**ROTATION, "master": "other"}, Code.NOT_FOUND),
        ({**ROTATION, "generation": 3}, Code.NOT_FOUND),
        ({**ROTATION, "generation": 2}, Code.CONFLICT),
    ],
)
def test_what_makes_no_sense_is_refused(service: CampaignService, changes: dict[str, Any], code: Code) -> None:
    refuse(service, code, **changes)


def test_a_rotation_needs_a_successor_that_issues(service: CampaignService, store: MemoryStore) -> None:
    with store.transaction() as tx:
        tx.master_keys.save(replace(GENERATIONS[1], expires_at=NOW))
    refuse(service, Code.KEY_EXPIRED, **ROTATION)


def test_a_name_is_used_once_and_an_empty_campaign_is_none(service: CampaignService) -> None:
    create(service)
    with pytest.raises(KmsError) as error:
        create(service)
    assert error.value.code is Code.CONFLICT
    with pytest.raises(KmsError) as error:
        create(service, name="none", chosen=CampaignFilter(kind=DomainKind.ISD))
    assert error.value.code is Code.NOT_FOUND


def test_pause_and_resume(service: CampaignService, store: MemoryStore) -> None:
    create(service)
    assert service.pause("spring-clean", actor="cli:operator", why="holidays").state_reason == "holidays"
    assert served(store) == 0
    service.resume("spring-clean", actor="cli:operator")
    assert served(store) == CARDS
    assert actions(store)[-2:] == ["campaign.pause", "campaign.resume"]


def test_cancelling_takes_all_batches_and_what_visits_give_back_later(
    service: CampaignService, store: MemoryStore
) -> None:
    create(service)
    with store.transaction() as tx:
        running = replace(tx.key_updates.list()[0], state=UpdateState.RUNNING)
        tx.key_updates.save(running)
    service.cancel("spring-clean", actor="cli:operator", why="enough")
    counts = service.report("spring-clean").counts
    assert counts.by_state == {UpdateState.RUNNING: 1, UpdateState.CANCELLED: CARDS - 1}
    with store.transaction() as tx:
        tx.key_updates.save(replace(running, state=UpdateState.PENDING))
    assert service.tend() == "0 running, 0 stopped or done, 1 late updates cancelled"
    assert service.report("spring-clean").counts.open == 0
    with pytest.raises(KmsError):
        service.resume("spring-clean", actor="cli:operator")


def test_the_breaker_stops_with_an_alarm_until_people_start_again(service: CampaignService, store: MemoryStore) -> None:
    create(service, max_failures=2)
    finish(store, UpdateState.FAILED, 1)
    assert service.tend() == "1 running, 0 stopped or done, 0 late updates cancelled"
    finish(store, UpdateState.FAILED, 1)
    assert service.tend() == "1 running, 1 stopped or done, 0 late updates cancelled"
    assert served(store) == 0
    with store.transaction() as tx:
        (alarm,) = tx.alarms.list_open()
    assert (alarm.kind, alarm.subject) == ("campaign.stopped", "campaign spring-clean")
    service.resume("spring-clean", actor="cli:operator")
    with store.transaction() as tx:
        assert not tx.alarms.list_open()
    assert served(store) == CARDS - 2
    assert service.tend() == "1 running, 0 stopped or done, 0 late updates cancelled"


def test_a_report_tells_how_far_it_is_and_ends_it(
    service: CampaignService, store: MemoryStore, clock: TickingClock
) -> None:
    create(service, **ROTATION, deadline=NOW + DAY)
    finish(store, UpdateState.DONE, 2)
    clock.move(days=2)
    report = service.report("spring-clean")
    assert (report.counts.done, report.counts.open, report.overdue) == (2, CARDS - 2, True)
    assert report.counts.overdue == CARDS - 2
    assert report.projected_end == NOW + timedelta(days=2 + CARDS - 2)
    assert report.use is not None
    assert (report.use.live, report.use.open_updates) == (CARDS, CARDS - 2)
    finish(store, UpdateState.DONE, CARDS)
    assert service.report("spring-clean").campaign.state is CampaignState.DONE
    with pytest.raises(KmsError) as error:
        service.report("none")
    assert error.value.code is Code.NOT_FOUND


def test_so_many_a_day_are_released(service: CampaignService, store: MemoryStore, clock: TickingClock) -> None:
    create(service, per_day=3)
    found = []
    for _ in range(3):
        service.tend()
        found.append(served(store))
        clock.move(days=1)
    assert found == [3, 6, CARDS]


def test_a_master_is_found_by_name_and_generation(store: MemoryStore) -> None:
    with store.transaction() as tx:
        assert find_master(tx, "ssd-keys", None) == GENERATIONS[1]
        assert find_master(tx, "ssd-keys", 1) == GENERATIONS[0]


class TestWithACard:
    """The card's SSD holds keys; the campaign is about it."""

    @pytest.fixture
    def scene(self) -> Scene:
        scene = build_scene()
        scene.make_ssd()
        return scene

    def start(self, scene: Scene, **changes: Any) -> CampaignService:  # noqa: ANN401 - any field
        issuer = scene.issuer
        service = CampaignService(
            store=issuer.store, clock=issuer.clock, identifiers=issuer.identifiers, platform="issuer"
        )
        service.create(ask(chosen=CampaignFilter(kind=DomainKind.SSD), **changes), actor="cli:operator")
        return service

    def test_a_visit_carries_it_out(self, scene: Scene) -> None:
        service = self.start(scene)
        assert scene.visit() == "done"
        scene.assert_in_step()
        assert service.report("spring-clean").campaign.state is CampaignState.DONE

    def test_paused_it_serves_no_card_and_comes_back(self, scene: Scene) -> None:
        service = self.start(scene)
        service.pause("spring-clean", actor="cli:operator")
        assert scene.visit() == "nothing is pending for this card"
        service.resume("spring-clean", actor="cli:operator")
        assert scene.visit() == "done"

    def test_what_a_visit_began_ends_though_it_is_paused_meanwhile(self, scene: Scene) -> None:
        service = self.start(scene)

        def pause(order: Order, answers: list[bytes]) -> list[bytes]:
            if order.number == 1:
                service.pause("spring-clean", actor="cli:operator")
            return answers

        assert scene.visit(scene.agent(tamper=pause)) == "done"
        scene.assert_in_step()

    def test_a_cancelled_one_leaves_nothing_in_doubt(self, scene: Scene) -> None:
        service = self.start(scene)

        def lose(order: Order, answers: list[bytes]) -> list[bytes]:
            return [] if order.number == 2 else answers

        scene.visit(scene.agent(tamper=lose))
        service.cancel("spring-clean", actor="cli:operator", why="enough")
        scene.visit()
        sets = scene.issuer.key_sets(SSD_AID)
        assert not [item for item in sets if item.delivery in (Delivery.IN_FLIGHT, Delivery.IN_DOUBT)]
        assert [item.kvn for item in sets if item.state is KeyState.ACTIVE] == scene.card.kvns(SSD_AID)

    def test_the_breaker_looks_as_soon_as_an_update_fails(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        service = self.start(scene, max_failures=1)
        monkeypatch.setattr(scene.issuer.visits, "_on_failed", service.judge)

        monkeypatch.setattr(scene.card, "transmit", refuse_put_key(scene.card.transmit))  # the card has no room
        for _ in range(5):
            if scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED:
                break
            scene.visit()
        assert scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED
        # Its only update failed, so that nothing is open: it is over, and its report says why.
        (campaign,) = service.list()
        assert campaign.state is CampaignState.DONE
        assert "1 updates failed" in campaign.state_reason


def refuse_put_key(transmit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda command: b"\x6a\x84" if command[1] == 0xD8 else transmit(command)
