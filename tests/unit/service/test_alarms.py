import pytest

from kms.domain.alarms import AlarmSeverity
from kms.errors import Code, KmsError
from kms.service.alarms import AlarmService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def alarms(store: MemoryStore, clock: TickingClock) -> AlarmService:
    return AlarmService(store=store, clock=clock, identifiers=CountingIdentifiers())


def raise_one(store: MemoryStore, alarms: AlarmService) -> str:
    with store.transaction() as tx:
        return alarms.raise_(tx, "keys.past-end", "", "3 key sets are past their end", AlarmSeverity.WARNING).id


def test_an_acknowledged_alarm_stays_open_and_names_the_first_who_did(
    store: MemoryStore, alarms: AlarmService, clock: TickingClock
) -> None:
    alarm_id = raise_one(store, alarms)
    alarms.acknowledge(alarm_id, actor="cli:anna")
    clock.move(minutes=5)
    alarm = alarms.acknowledge(alarm_id, actor="cli:bert")
    assert (alarm.acknowledged_by, alarm.acknowledged_at) == ("cli:anna", NOW)
    assert alarms.list() == [alarm]
    assert alarms.get(alarm_id) == alarm


def test_acknowledging_is_in_the_audit_log_once(store: MemoryStore, alarms: AlarmService) -> None:
    alarm_id = raise_one(store, alarms)
    alarms.acknowledge(alarm_id, actor="cli:anna")
    alarms.acknowledge(alarm_id, actor="cli:anna")
    with store.transaction() as tx:
        assert [(event.action, event.detail) for event in tx.audit.list()] == [("alarm.acknowledge", "keys.past-end")]


def test_what_is_over_cannot_be_acknowledged(store: MemoryStore, alarms: AlarmService) -> None:
    alarm_id = raise_one(store, alarms)
    with store.transaction() as tx:
        tx.alarms.clear("keys.past-end", "", NOW)
    with pytest.raises(KmsError) as error:
        alarms.acknowledge(alarm_id, actor="cli:anna")
    assert error.value.code is Code.CONFLICT
    assert alarms.list() == []
    assert [alarm.id for alarm in alarms.list(only_open=False)] == [alarm_id]


def test_an_unknown_alarm_is_not_found(alarms: AlarmService) -> None:
    with pytest.raises(KmsError) as error:
        alarms.acknowledge("nothing", actor="cli:anna")
    assert error.value.code is Code.NOT_FOUND
