from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kms.domain.alarms import AlarmSeverity
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import UpdateState
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from kms.service import housekeeping
from kms.service.housekeeping import HousekeepingLimits, HousekeepingService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    CountingIdentifiers,
    TickingClock,
    build_card,
    build_domain,
    build_key_set,
    build_update,
    build_visit,
)

LIMITS = HousekeepingLimits(late_reports=timedelta(minutes=15), retention=timedelta(days=30))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    with store.transaction() as tx:
        tx.cards.add(build_card())
        tx.security_domains.add(build_domain())
        tx.key_sets.add(build_key_set(delivery=Delivery.IN_FLIGHT))
        tx.key_updates.add(build_update(state=UpdateState.RUNNING))
    return store


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def service(store: MemoryStore, clock: TickingClock) -> HousekeepingService:
    return HousekeepingService(store=store, clock=clock, identifiers=CountingIdentifiers(), limits=LIMITS)


def add_visits(store: MemoryStore, count: int) -> None:
    with store.transaction() as tx:
        for number in range(1, count + 1):
            tx.visits.add(
                build_visit(
                    number,
                    session_id=f"s{number}",
                    state=VisitState.OPEN,
                    deadline=NOW,
                    update_id=build_update().id,
                    mismatches=0,
                )
            )


def test_a_visit_has_time_for_late_reports_and_then_expires(
    store: MemoryStore, service: HousekeepingService, clock: TickingClock
) -> None:
    add_visits(store, 1)
    clock.move(minutes=15)
    assert service.expire_visits() == "0 visits expired, 0 key sets in doubt"
    clock.move(seconds=1)
    assert service.expire_visits() == "1 visits expired, 1 key sets in doubt"
    with store.transaction() as tx:
        assert [(event.action, event.actor) for event in tx.audit.list()] == [
            ("update.break", "scheduler"),
            ("key-set.doubt", "scheduler"),
        ]


def test_batches_are_bounded_and_all_is_done(
    store: MemoryStore, service: HousekeepingService, clock: TickingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    add_visits(store, 5)
    clock.move(days=40)
    assert service.expire_visits().startswith("5 visits expired")
    assert service.retain() == "5 visits deleted"
    assert service.retain() == "0 visits deleted"


def test_a_step_in_between_makes_it_look_again(
    store: MemoryStore, service: HousekeepingService, clock: TickingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_visits(store, 1)
    clock.move(hours=1)
    overtaken = [KmsError(Code.VISIT_CONFLICT, "a step came first")] * 3
    begin = store.transaction

    def transaction() -> object:
        if overtaken:
            raise overtaken.pop()
        return begin()

    monkeypatch.setattr(store, "transaction", transaction)
    assert service.expire_visits().startswith("1 visits expired")
    overtaken += [KmsError(Code.VISIT_CONFLICT, "a step came first")] * 5
    with pytest.raises(KmsError):
        service.expire_visits()
    overtaken.append(KmsError(Code.DATABASE_UNAVAILABLE, "away"))
    with pytest.raises(KmsError) as error:
        service.expire_visits()
    assert error.value.code is Code.DATABASE_UNAVAILABLE


def test_what_is_overdue_is_an_alarm_with_counts_until_it_is_not(
    store: MemoryStore, service: HousekeepingService, clock: TickingClock
) -> None:
    with store.transaction() as tx:
        tx.key_updates.save(replace(build_update(state=UpdateState.PENDING), deadline=NOW))
        in_force: dict[str, Any] = {"delivery": Delivery.PROVED, "state": KeyState.ACTIVE}
        tx.key_sets.save(build_key_set(expires_at=NOW, **in_force))
    assert service.escalate_overdue() == "0 updates overdue, 0 key sets past their end"
    clock.move(days=2)
    for _ in range(2):
        assert service.escalate_overdue() == "1 updates overdue, 1 key sets past their end"
    with store.transaction() as tx:
        alarms = {alarm.kind: alarm for alarm in tx.alarms.list_open()}
    assert {kind: (alarm.severity, alarm.count) for kind, alarm in alarms.items()} == {
        "updates.overdue": (AlarmSeverity.WARNING, 2),
        "keys.past-end": (AlarmSeverity.CRITICAL, 2),
    }
    assert f"{NOW:%Y-%m-%d}" in alarms["keys.past-end"].text
    with store.transaction() as tx:
        tx.key_updates.save(replace(build_update(), state=UpdateState.DONE))
        tx.key_sets.save(build_key_set(delivery=Delivery.REPLACED))
    service.escalate_overdue()
    with store.transaction() as tx:
        assert tx.alarms.list_open() == []
