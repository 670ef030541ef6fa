import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kms.errors import Code, KmsError
from kms.scheduler.runner import ClockWatch, Runner
from kms.service.jobs import Job, JobService
from kms.service.leases import SCHEDULER, FencedStore, LeaseKeeper
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock

PATIENCE_S = 10
MINUTE = timedelta(minutes=1)


class Scene:
    """Nodes over one database; `clock`: the nodes' own."""

    def __init__(self) -> None:
        self.clock = TickingClock()
        self.database_clock = TickingClock()
        self.monotonic_s = 0.0
        self.synchronised = True
        self.store = MemoryStore()
        self.store.clock = self.database_clock.now
        self.ran = threading.Semaphore(0)
        self.runners: list[Runner] = []
        self.identifiers = CountingIdentifiers()

    def build(self, node: str) -> Runner:
        keeper = LeaseKeeper(store=self.store, holder=f"{node}/1", seconds=30)
        service = JobService(
            store=FencedStore(self.store, keeper), clock=self.clock, identifiers=self.identifiers, node=node
        )
        watch = ClockWatch(
            store=self.store,
            clock=self.clock,
            identifiers=self.identifiers,
            node=node,
            tolerance=timedelta(minutes=5),
            read_synchronised=lambda: self.synchronised,
            monotonic=lambda: self.monotonic_s,
        )
        runner = Runner(jobs=[Job("work", MINUTE, self.work)], service=service, keeper=keeper, clock=watch)
        self.runners.append(runner)
        return runner

    def work(self) -> str:
        self.ran.release()
        return "done"

    def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds=seconds)
        self.database_clock.move(seconds=seconds)
        self.monotonic_s += seconds

    def find_holder(self) -> str:
        with self.store.transaction() as tx:
            lease = tx.leases.find(SCHEDULER)
        return lease.holder if lease else ""

    def list_alarms(self) -> list[tuple[str, str]]:
        with self.store.transaction() as tx:
            return [(alarm.kind, alarm.subject) for alarm in tx.alarms.list_open()]


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.store.fail_with = None
    for runner in scene.runners:
        runner.stop()


def test_one_node_runs_what_is_due_the_other_waits(scene: Scene) -> None:
    one, two = scene.build("one"), scene.build("two")
    one.beat()
    two.beat()
    assert (one.is_active, two.is_active, scene.find_holder()) == (True, False, "one/1")
    assert scene.ran.acquire(timeout=PATIENCE_S)


def test_the_other_takes_over_when_the_first_says_nothing(scene: Scene) -> None:
    one, two = scene.build("one"), scene.build("two")
    one.beat()
    scene.pass_time(31)
    two.beat()
    one.beat()
    assert (one.is_active, two.is_active, scene.find_holder()) == (False, True, "two/1")


def test_a_node_that_stops_gives_the_lease_back(scene: Scene) -> None:
    one, two = scene.build("one"), scene.build("two")
    stop = threading.Event()
    stop.set()
    one.run(stop, MINUTE)
    scene.runners.remove(one)
    two.beat()
    assert scene.find_holder() == "two/1"


def test_a_clock_that_jumps_stops_scheduling_with_an_alarm_until_it_is_right(scene: Scene) -> None:
    one = scene.build("one")
    one.beat()
    scene.clock.move(minutes=6)
    one.beat()
    assert (one.is_active, scene.find_holder()) == (False, "")
    assert scene.list_alarms() == [("scheduler.clock", "node one")]
    one.beat()
    assert not one.is_active
    scene.clock.move(minutes=-6)
    one.beat()
    assert one.is_active
    assert scene.list_alarms() == []


def test_a_clock_that_is_not_synchronised_stops_this_node_and_another_goes_on(scene: Scene) -> None:
    one, two = scene.build("one"), scene.build("two")
    one.beat()
    scene.synchronised = False
    one.beat()
    scene.synchronised = True
    two.beat()
    assert (one.is_active, two.is_active) == (False, True)


def test_a_database_that_is_away_stops_scheduling_until_it_is_back(scene: Scene) -> None:
    one = scene.build("one")
    one.beat()
    scene.store.fail_with = KmsError(Code.DATABASE_UNAVAILABLE, "away")
    one.beat()
    assert not one.is_active
    scene.store.fail_with = None
    one.beat()
    assert one.is_active


def test_a_fault_of_before_the_start_is_cleared_by_the_first_good_reading(scene: Scene) -> None:
    one = scene.build("one")
    scene.synchronised = False
    one.beat()
    assert scene.list_alarms() == [("scheduler.clock", "node one")]
    scene.synchronised = True
    again = scene.build("one")
    again.beat()
    assert scene.list_alarms() == []
