import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from kms.scheduler.ticks import Ticks

PATIENCE_S = 10
LONG = timedelta(days=1)


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    ticks = Ticks()
    yield ticks
    ticks.stop()


class Work:
    """Counts its calls. `gate`: closed, a call does not come back."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.calls += 1
        self.called.release()
        assert self.gate.wait(PATIENCE_S)

    def wait_for_call(self) -> bool:
        return self.called.acquire(timeout=PATIENCE_S)


def past(**ago: float) -> datetime:
    return datetime.now(UTC) - timedelta(**ago)


def test_what_is_long_overdue_runs_at_once_and_once(ticks: Ticks) -> None:
    late, soon = Work(), Work()
    ticks.add("late", timedelta(minutes=1), late)
    ticks.add("soon", timedelta(hours=1), soon)
    ticks.resume({"late": past(days=30), "soon": past()})
    assert late.wait_for_call()
    assert soon.wait_for_call()
    assert late.calls == 1


def test_nothing_runs_while_paused(ticks: Ticks) -> None:
    work, other = Work(), Work()
    ticks.add("work", LONG, work)
    ticks.add("other", LONG, other)
    ticks.resume({})
    ticks.pause()
    ticks.call_by("work", past())
    ticks.resume({"other": past()})
    assert other.wait_for_call()
    assert work.wait_for_call()
    assert (work.calls, other.calls) == (1, 1)


def test_a_tick_that_falls_into_the_run_before_runs_after_it(ticks: Ticks) -> None:
    work = Work()
    work.gate.clear()
    ticks.add("work", timedelta(seconds=0.2), work)
    ticks.resume({"work": past()})
    assert work.wait_for_call()
    assert not work.called.acquire(timeout=0.5)
    work.gate.set()
    assert work.wait_for_call()


def test_a_function_can_be_called_earlier_but_not_later(ticks: Ticks) -> None:
    work = Work()
    ticks.add("work", LONG, work)
    ticks.resume({"work": datetime.now(UTC) + timedelta(hours=2)})
    ticks.call_by("work", datetime.now(UTC) + timedelta(hours=3))
    ticks.call_by("nothing", past())
    assert work.calls == 0
    ticks.call_by("work", past())
    assert work.wait_for_call()
