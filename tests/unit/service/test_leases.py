from datetime import timedelta
from typing import Any

import pytest

from kms.errors import Code, KmsError
from kms.service.leases import SCHEDULER, FencedStore, LeaseKeeper
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import TickingClock, build_alarm


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def store(clock: TickingClock) -> MemoryStore:
    store = MemoryStore()
    store.clock = clock.now
    return store


def keeper(store: MemoryStore, holder: str) -> LeaseKeeper:
    return LeaseKeeper(store=store, holder=holder, seconds=30)


def read_fence(store: MemoryStore) -> int:
    with store.transaction() as tx:
        lease = tx.leases.find(SCHEDULER)
    assert lease
    return lease.fence


def test_one_node_gets_the_lease_and_keeps_it_while_it_renews(store: MemoryStore, clock: TickingClock) -> None:
    one, two = keeper(store, "one"), keeper(store, "two")
    assert one.keep()
    for _ in range(5):
        clock.move(seconds=20)
        assert not two.keep()
        assert one.keep()
    assert (one.fence, two.fence, read_fence(store)) == (1, None, 1)


def test_another_node_takes_over_when_the_lease_ends(store: MemoryStore, clock: TickingClock) -> None:
    one, two = keeper(store, "one"), keeper(store, "two")
    one.keep()
    clock.move(seconds=29)
    assert not two.keep()
    clock.move(seconds=1)
    assert two.keep()
    assert two.fence == 2
    assert not one.keep()
    assert one.fence is None


def test_a_lease_that_is_given_back_is_free_at_once(store: MemoryStore) -> None:
    one, two = keeper(store, "one"), keeper(store, "two")
    one.keep()
    one.release()
    one.release()
    assert two.keep()
    assert two.fence == 2


def test_a_late_renewal_counts_where_nobody_took_over(store: MemoryStore, clock: TickingClock) -> None:
    one = keeper(store, "one")
    one.keep()
    clock.move(seconds=300)
    assert one.keep()
    assert one.fence == 1


def test_who_forgot_begins_a_new_fence(store: MemoryStore) -> None:
    one = keeper(store, "one")
    one.keep()
    one.forget()
    assert one.keep()
    assert one.fence == 2


def test_a_node_that_does_not_reach_the_database_does_not_hold_the_lease(store: MemoryStore) -> None:
    one = keeper(store, "one")
    one.keep()
    store.fail_with = KmsError(Code.DATABASE_UNAVAILABLE, "away")
    with pytest.raises(KmsError):
        one.keep()
    assert one.fence is None


class TestFencedStore:
    def test_work_under_the_lease_is_written(self, store: MemoryStore) -> None:
        one = keeper(store, "one")
        one.keep()
        with FencedStore(store, one).transaction() as tx:
            tx.alarms.raise_(build_alarm())
        with store.transaction() as tx:
            assert tx.alarms.list_open() == [build_alarm()]

    def test_without_the_lease_nothing_begins(self, store: MemoryStore) -> None:
        fenced = FencedStore(store, keeper(store, "one"))
        with pytest.raises(KmsError) as error, fenced.transaction():
            pytest.fail("the block was entered")
        assert error.value.code is Code.LEASE_LOST

    def test_a_node_that_does_not_know_that_it_lost_the_lease_writes_nothing(
        self, store: MemoryStore, clock: TickingClock
    ) -> None:
        one, two = keeper(store, "one"), keeper(store, "two")
        one.keep()
        clock.move(seconds=31)
        two.keep()
        assert one.fence == 1
        with pytest.raises(KmsError) as error, FencedStore(store, one).transaction():
            pytest.fail("the block was entered")
        assert error.value.code is Code.LEASE_LOST

    def test_what_fails_in_the_work_is_not_tried_again(self, store: MemoryStore) -> None:
        one = keeper(store, "one")
        one.keep()
        entered = []

        def work() -> None:
            with FencedStore(store, one).transaction():
                entered.append(1)
                raise KmsError(Code.VISIT_CONFLICT, "the work's own")

        with pytest.raises(KmsError) as error:
            work()
        assert (error.value.code, entered) == (Code.VISIT_CONFLICT, [1])

    def test_its_check_is_the_stores(self, store: MemoryStore) -> None:
        fenced = FencedStore(store, keeper(store, "one"))
        fenced.check()
        store.fail_with = KmsError(Code.DATABASE_UNAVAILABLE, "away")
        with pytest.raises(KmsError):
            fenced.check()

    def test_a_renewal_at_the_same_moment_is_waited_for(self, store: MemoryStore) -> None:
        one = keeper(store, "one")
        one.keep()
        refusals = [KmsError(Code.VISIT_CONFLICT, "renewed meanwhile")] * 2

        class Busy(MemoryStore):
            def transaction(self) -> Any:  # noqa: ANN401 - as the store's
                if refusals:
                    raise refusals.pop()
                return store.transaction()

        with FencedStore(Busy(), one).transaction() as tx:
            tx.alarms.raise_(build_alarm())
        assert refusals == []


def test_times_are_the_databases(store: MemoryStore, clock: TickingClock) -> None:
    one = keeper(store, "one")
    one.keep()
    with store.transaction() as tx:
        lease = tx.leases.find(SCHEDULER)
    assert lease
    assert lease.expires_at == clock.now() + timedelta(seconds=30)
