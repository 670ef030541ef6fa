import pytest

from kms.errors import Code, KmsError
from kms.service.keys import MasterPresence
from kms.service.platform_keys import KeyPairPresence
from kms.service.token_check import KEY_WRONG, TokenCheck
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock, build_master, build_platform_key


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def build_check(store: MemoryStore, master: str, pair: str = "found") -> TokenCheck:
    return TokenCheck(
        store=store,
        clock=TickingClock(),
        identifiers=CountingIdentifiers(),
        list_masters=lambda: [MasterPresence(build_master(), master)],
        list_key_pairs=lambda: [KeyPairPresence(build_platform_key(), pair)],
    )


def list_open(store: MemoryStore) -> list[str]:
    with store.transaction() as tx:
        return [alarm.subject for alarm in tx.alarms.list_open() if alarm.kind == KEY_WRONG]


@pytest.mark.parametrize("presence", ["found", "not made yet"])
def test_keys_as_recorded_are_no_alarm(store: MemoryStore, presence: str) -> None:
    assert build_check(store, presence).check() == "2 keys looked up, 0 not as recorded"
    assert list_open(store) == []


def test_a_key_that_is_not_as_recorded_is_an_alarm_until_it_is(store: MemoryStore) -> None:
    master = build_master()
    build_check(store, "key.missing: it is not there", "key.attributes: odd").check()
    assert len(list_open(store)) == 2
    build_check(store, "key.missing: it is not there").check()
    assert list_open(store) == [f"master {master.name} {master.generation}"]
    build_check(store, "found").check()
    assert list_open(store) == []


def test_an_hsm_that_is_away_is_no_lost_key(store: MemoryStore) -> None:
    with pytest.raises(KmsError) as error:
        build_check(store, "hsm.unavailable: away").check()
    assert error.value.code is Code.HSM_UNAVAILABLE
    assert list_open(store) == []
