"""When jobs run: APScheduler 3.11, which this module alone knows.

Rules: jobs live in memory and are named functions; what must outlive the process is in the database. A tick that comes
late runs, once; one that falls into the run before it runs when that has ended. Nothing runs while paused.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

logging.getLogger("apscheduler").setLevel(logging.WARNING)  # a line for each run is too many

THREADS = 4  # a long sweep must not keep visits from expiring


class Ticks:
    """Calls functions again and again, in threads of its own, while it is not paused."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(THREADS)},
            # A late tick runs however late it is, and several late ones run once.
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._scheduler.add_listener(self._remember, EVENT_JOB_MAX_INSTANCES)
        self._scheduler.add_listener(self._make_up, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self._missed: set[str] = set()
        self._scheduler.start(paused=True)

    def add(self, name: str, interval: timedelta, work: Callable[[], object]) -> None:
        """Add a function; it is first called an interval from now, unless `resume` says otherwise."""
        trigger = IntervalTrigger(seconds=interval.total_seconds(), timezone=UTC)
        self._scheduler.add_job(work, trigger, id=name, name=name)

    def resume(self, due: Mapping[str, datetime]) -> None:
        """Go on. `due`: when each function is next to be called; past times mean at once."""
        for name, at in due.items():
            self._scheduler.modify_job(name, next_run_time=at)
        self._scheduler.resume()

    def call_by(self, name: str, at: datetime) -> None:
        """Call a function then, unless it is to be called earlier anyway."""
        job = self._scheduler.get_job(name)
        if job is not None and (job.next_run_time is None or job.next_run_time > at):
            self._scheduler.modify_job(name, next_run_time=at)

    def pause(self) -> None:
        """Call nothing until `resume`; what runs goes on to its end."""
        self._scheduler.pause()

    def stop(self) -> None:
        """End, after what runs has ended."""
        self._scheduler.shutdown(wait=True)

    def _remember(self, event: JobEvent) -> None:
        """APScheduler would drop a tick that falls into the run before it."""
        self._missed.add(event.job_id)

    def _make_up(self, event: JobEvent) -> None:
        if event.job_id not in self._missed:
            return
        self._missed.discard(event.job_id)
        try:
            self._scheduler.modify_job(event.job_id, next_run_time=datetime.now(UTC))
        except JobLookupError:
            return
