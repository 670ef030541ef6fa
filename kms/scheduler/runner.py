"""One scheduler process: it keeps the lease, watches the clock, and lets jobs run while both are as they should be.

Rules: nothing here decides what may be written; the fence in each transaction does. The beat is a third of the lease,
so that two beats may fail before the lease ends. A clock that cannot be trusted gives the lease back, so that a node
with a right clock takes over, and is an alarm until it is right again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from kms.domain.alarms import AlarmSeverity
from kms.errors import KmsError
from kms.scheduler.ticks import Ticks
from kms.service.alarms import raise_alarm
from kms.service.clock_check import ClockCheck, ClockReading
from kms.service.jobs import Job, JobService
from kms.service.leases import LeaseKeeper
from kms.service.ports import Clock, Identifiers, Store

CLOCK = "scheduler.clock"
RETRY = timedelta(minutes=5)  # a job that failed does not wait for its next turn a day later

_LOG = logging.getLogger("kms.scheduler")


class ClockWatch:
    """The node's clock, measured at each beat. `read_synchronised`: None where the kernel is not asked."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        node: str,
        tolerance: timedelta,
        read_synchronised: Callable[[], bool] | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._subject = f"node {node}"
        self._check = ClockCheck(tolerance)
        self._read_synchronised = read_synchronised
        self._monotonic = monotonic
        self._is_right: bool | None = None

    def is_right(self) -> bool:
        """Measure; an alarm is raised or cleared where that changes something. Raises `database.unavailable`."""
        fault = self._check.find_fault(self._read())
        if fault is not None:
            self._raise(fault)
        elif self._is_right is not True:
            self._clear()
        self._is_right = fault is None
        return self._is_right

    def _read(self) -> ClockReading:
        with self._store.transaction() as tx:
            database = tx.leases.now()
            wall, monotonic_s = self._clock.now(), self._monotonic()
        synchronised = self._read_synchronised() if self._read_synchronised is not None else None
        return ClockReading(wall, monotonic_s, database, synchronised)

    def _raise(self, fault: str) -> None:
        _LOG.error("nothing is scheduled: %s", fault)
        with self._store.transaction() as tx:
            text = f"nothing is scheduled on this node: {fault}"
            # By the database's clock: the node's own is the one in question.
            alarm_id, at = self._identifiers.new(), tx.leases.now()
            raise_alarm(tx, CLOCK, self._subject, text, AlarmSeverity.CRITICAL, alarm_id=alarm_id, at=at)

    def _clear(self) -> None:
        with self._store.transaction() as tx:
            if tx.alarms.clear(CLOCK, self._subject, tx.leases.now()):
                _LOG.info("this node's clock is right again: it schedules")


class Runner:
    """The process's loop over its jobs."""

    def __init__(self, *, jobs: Sequence[Job], service: JobService, keeper: LeaseKeeper, clock: ClockWatch) -> None:
        self._jobs = jobs
        self._service = service
        self._keeper = keeper
        self._clock = clock
        self._ticks = Ticks()
        self._active = False
        for job in jobs:
            self._ticks.add(job.name, job.interval, partial(self._work, job))

    @property
    def is_active(self) -> bool:
        """Whether this node holds the lease and runs jobs."""
        return self._active

    def run(self, stop: threading.Event, beat: timedelta) -> None:
        """Beat until told to stop; then end the jobs that run and give the lease back."""
        try:
            self.beat()
            while not stop.wait(beat.total_seconds()):
                self.beat()
        finally:
            self.stop()

    def beat(self) -> None:
        """Keep the lease, or try to get it, unless the clock is wrong."""
        try:
            held = self._clock.is_right() and self._keeper.keep()
            if held and not self._active:
                self._begin()
            elif not held:
                self._rest()
        except KmsError as error:
            _LOG.warning("nothing is scheduled: %s", error.code)
            self._keeper.forget()
            self._rest()

    def stop(self) -> None:
        """End the jobs that run, then give the lease back."""
        self._ticks.stop()
        self._give_back()

    def _work(self, job: Job) -> None:
        run = self._service.run(job)
        if run is not None and run.failed:
            self._ticks.call_by(job.name, datetime.now(UTC) + RETRY)

    def _begin(self) -> None:
        due: dict[str, datetime] = {job.name: self._service.get_due(job) for job in self._jobs}
        self._ticks.resume(due)
        self._active = True
        _LOG.info("this node schedules now (fence %s)", self._keeper.fence)

    def _rest(self) -> None:
        if self._active:
            self._ticks.pause()
            self._active = False
            _LOG.info("this node schedules no longer")
        self._give_back()

    def _give_back(self) -> None:
        try:
            self._keeper.release()
        except KmsError as error:
            _LOG.warning("the lease is not given back and ends by itself: %s", error.code)
