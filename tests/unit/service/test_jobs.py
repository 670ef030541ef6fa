from collections.abc import Callable
from datetime import timedelta

import pytest

from kms.domain.leases import JobRun
from kms.errors import Code, KmsError
from kms.service.jobs import JOB_FAILED, Job, JobService, read_status
from kms.service.leases import FencedStore, LeaseKeeper
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock

MINUTE = timedelta(minutes=1)


class Scene:
    def __init__(self) -> None:
        self.clock = TickingClock()
        self.store = MemoryStore()
        self.store.clock = self.clock.now
        self.keeper = LeaseKeeper(store=self.store, holder="node-1/1", seconds=30)
        self.keeper.keep()
        self.service = JobService(
            store=FencedStore(self.store, self.keeper),
            clock=self.clock,
            identifiers=CountingIdentifiers(),
            node="node-1",
        )

    def take_over(self) -> None:
        """Another node takes the lease; this one does not know."""
        self.clock.move(seconds=31)
        assert LeaseKeeper(store=self.store, holder="node-2/1", seconds=30).keep()

    def find_run(self) -> JobRun | None:
        with self.store.transaction() as tx:
            return tx.leases.find_run("sweep")

    def list_alarms(self) -> list[tuple[str, str, int]]:
        with self.store.transaction() as tx:
            return [(alarm.kind, alarm.subject, alarm.count) for alarm in tx.alarms.list_open()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def sweep(work: Callable[[], str] = lambda: "3 due") -> Job:
    return Job("sweep", MINUTE, work)


def fail(error: Exception) -> Callable[[], str]:
    def work() -> str:
        raise error

    return work


def test_a_run_is_recorded_with_its_result_and_lateness(scene: Scene) -> None:
    scene.service.run(sweep())
    scene.clock.move(minutes=3)

    def take_a_second() -> str:
        scene.clock.move(seconds=1)
        return "4 due"

    run = scene.service.run(sweep(take_a_second))
    begun = NOW + 3 * MINUTE
    assert run == JobRun("sweep", "node-1", begun, 60.0, 120.0, begun + timedelta(seconds=1), "4 due", runs=2)
    assert scene.find_run() == run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KmsError(Code.HSM_UNAVAILABLE, "The token is away"), "hsm.unavailable: The token is away"),
        (RuntimeError("key 0011223344"), "platform.internal: RuntimeError; see the scheduler's log"),
    ],
)
def test_a_failed_run_is_an_alarm_until_one_succeeds(scene: Scene, error: Exception, said: str) -> None:
    for _ in range(2):
        run = scene.service.run(sweep(fail(error)))
        assert run
        assert (run.failed, run.result) == (True, said)
    assert scene.list_alarms() == [(JOB_FAILED, "sweep", 2)]
    run = scene.service.run(sweep())
    assert run
    assert (run.failed, run.runs, run.failures) == (False, 3, 2)
    assert scene.list_alarms() == []


def test_a_run_that_did_something_new_is_in_the_audit_log(scene: Scene) -> None:
    said = ["0 asked for", "3 asked for", "3 asked for", "0 asked for", "4 asked for"]
    for text in said:
        scene.service.run(sweep(lambda text=text: text))  # type: ignore[misc] # a default argument
    for _ in range(2):
        scene.service.run(sweep(fail(KmsError(Code.HSM_UNAVAILABLE, "away"))))
    with scene.store.transaction() as tx:
        told = [(event.action, event.result, event.detail) for event in reversed(tx.audit.list())]
    assert told == [
        ("scheduler.run", "done", "node node-1: 3 asked for"),
        ("scheduler.run", "done", "node node-1: 4 asked for"),
        ("scheduler.run", "failed", "node node-1: hsm.unavailable: away"),
    ]


def test_a_job_of_the_audit_log_itself_leaves_no_trace_in_it(scene: Scene) -> None:
    scene.service.run(Job("checkpoint", MINUTE, lambda: "anchored up to 17", audited=False))
    with scene.store.transaction() as tx:
        assert not tx.audit.list()


def test_a_node_that_lost_the_lease_before_a_run_does_not_run(scene: Scene) -> None:
    scene.take_over()
    assert scene.service.run(sweep(fail(AssertionError("it ran")))) is None
    assert scene.find_run() is None


def test_a_node_that_lost_the_lease_in_a_run_records_no_end(scene: Scene) -> None:
    def work() -> str:
        scene.take_over()
        return "done"

    assert scene.service.run(sweep(work)) is None
    run = scene.find_run()
    assert run
    assert run.finished_at is None


def test_work_that_finds_the_lease_lost_is_no_failure_of_the_job(scene: Scene) -> None:
    assert scene.service.run(sweep(fail(KmsError(Code.LEASE_LOST, "lost")))) is None
    assert scene.list_alarms() == []


def test_a_job_is_due_an_interval_after_it_last_began(scene: Scene) -> None:
    assert scene.service.get_due(sweep()) == NOW
    scene.service.run(sweep())
    scene.clock.move(seconds=20)
    assert scene.service.get_due(sweep()) == NOW + MINUTE
    scene.clock.move(days=3)
    assert scene.service.get_due(sweep()) == NOW + MINUTE


def test_a_run_of_the_future_does_not_put_the_job_off(scene: Scene) -> None:
    scene.clock.move(days=30)
    scene.keeper.keep()
    scene.service.run(sweep())
    scene.clock.time = NOW
    scene.keeper.forget()
    scene.keeper.keep()
    assert scene.service.get_due(sweep()) == NOW + MINUTE


def test_the_status_tells_holder_and_runs(scene: Scene) -> None:
    scene.service.run(sweep())
    status = read_status(scene.store)
    assert status.now == NOW
    assert status.lease
    assert (status.lease.holder, status.lease.fence) == ("node-1/1", 1)
    assert [run.job for run in status.runs] == ["sweep"]
