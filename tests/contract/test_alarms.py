"""Alarms, leases and runs of jobs in the store, over the fake and the real databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kms.domain.alarms import AlarmSeverity
from kms.domain.leases import JobRun, Lease
from kms.errors import Code, KmsError
from kms.service.ports import Store
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, build_alarm
from tests.fakes.stores import DATABASES, open_store_on

LEASE = Lease("scheduler", "node-1", 1, 30, NOW)


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


def write_and_check(store: Store, name: str, fence: int) -> None:
    with store.transaction() as tx:
        tx.alarms.raise_(build_alarm())
        tx.leases.check(name, fence)


class TestAlarms:
    def test_the_same_condition_is_one_alarm_that_counts(self, store: Store) -> None:
        later = NOW + timedelta(minutes=1)
        with store.transaction() as tx:
            first = tx.alarms.raise_(build_alarm(1))
            again = tx.alarms.raise_(
                build_alarm(2, text="worse", severity=AlarmSeverity.CRITICAL, raised_at=later, last_at=later)
            )
        assert first == build_alarm(1)
        assert again == build_alarm(1, text="worse", severity=AlarmSeverity.CRITICAL, last_at=later, count=2)
        with store.transaction() as tx:
            assert tx.alarms.list_open() == [again]
            assert tx.alarms.get(again.id) == again

    def test_another_subject_or_kind_is_another_alarm(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.alarms.raise_(build_alarm(1))
            tx.alarms.raise_(build_alarm(2, subject="card 0103"))
            tx.alarms.raise_(build_alarm(3, kind="card.lost"))
            assert len(tx.alarms.list_open()) == 3
            assert len(tx.alarms.list_open(limit=2, offset=2)) == 1

    def test_a_cleared_alarm_is_no_longer_open_and_may_be_raised_anew(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.alarms.raise_(build_alarm(1))
            assert tx.alarms.clear("card.quarantined", "card 0102", NOW)
            assert not tx.alarms.clear("card.quarantined", "card 0102", NOW)
            assert tx.alarms.list_open() == []
            tx.alarms.raise_(build_alarm(2))
        with store.transaction() as tx:
            assert [alarm.cleared_at for alarm in tx.alarms.list_newest()] == [None, NOW]


class TestLeases:
    def test_a_lease_is_replaced_only_by_who_knows_its_fence(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.leases.find("scheduler") is None
            tx.leases.add(LEASE)
        taken = replace(LEASE, holder="node-2", fence=2)
        with store.transaction() as tx:
            assert tx.leases.replace(taken, 1)
            assert not tx.leases.replace(LEASE, 1)
        with store.transaction() as tx:
            assert tx.leases.find("scheduler") == taken

    def test_who_lost_the_lease_can_write_nothing(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.leases.add(LEASE)
            tx.leases.replace(replace(LEASE, fence=2), 1)
        with store.transaction() as tx:
            tx.leases.check("scheduler", 2)
        for name, fence in (("scheduler", 1), ("scheduler", 3), ("other", 1)):
            with pytest.raises(KmsError) as error:
                write_and_check(store, name, fence)
            assert error.value.code is Code.LEASE_LOST
        with store.transaction() as tx:
            assert tx.alarms.list_open() == []

    def test_the_databases_clock_is_about_right(self, store: Store) -> None:
        with store.transaction() as tx:
            assert abs(tx.leases.now() - datetime.now(UTC)) < timedelta(seconds=60)

    def test_a_jobs_last_run_replaces_the_one_before(self, store: Store) -> None:
        first = JobRun("sweep", "node-1", NOW, 60.0, 0.5)
        last = replace(first, node="node-2", finished_at=NOW, result="3 due", failed=True, runs=2, failures=1)
        with store.transaction() as tx:
            assert tx.leases.find_run("sweep") is None
            tx.leases.save_run(first)
            tx.leases.save_run(last)
            tx.leases.save_run(JobRun("other", "node-1", NOW, 60.0, 0.0))
        with store.transaction() as tx:
            assert tx.leases.find_run("sweep") == last
            assert [run.job for run in tx.leases.list_runs()] == ["other", "sweep"]
