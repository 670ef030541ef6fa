"""The scheduler's jobs: when each is due, and what its last run came to.

Rules: a job is named work that says in a few words what it did. Its runs are recorded in the database, so that a node
that takes over knows what is due. A run that failed is an alarm until one succeeds. A run whose node lost the lease
records nothing: the other node runs the job. A run that did something, or failed, and did not say the same as the one
before is an audit event.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.domain.alarms import AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.leases import JobRun, Lease
from kms.errors import Code, KmsError
from kms.service.alarms import raise_alarm
from kms.service.leases import SCHEDULER
from kms.service.ports import Clock, Identifiers, Store

JOB_FAILED = "scheduler.job-failed"
DID_SOMETHING = re.compile(r"\b[1-9]\d*\b")

_LOG = logging.getLogger("kms.scheduler")


@dataclass(frozen=True)
class Job:
    """Work that is done again and again. `interval`: between the beginnings of two runs.

    `work` says what it did; in that, numbers other than 0 tell that it did something. `audited` False: its runs are no
    audit events, as each would give the next run of the audit log's own jobs something to do.
    """

    name: str
    interval: timedelta
    work: Callable[[], str]
    audited: bool = True


@dataclass(frozen=True)
class SchedulerStatus:
    """What `kms scheduler status` shows. `now`: by the database's clock. `lease`: None before the first scheduler."""

    now: datetime
    lease: Lease | None
    runs: Sequence[JobRun]


class JobService:
    """Runs jobs. `store`: fenced by the scheduler's lease. `node`: as in the lease."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, node: str) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._node = node

    def get_due(self, job: Job) -> datetime:
        """When the job is due: an interval after it last began, wherever that was; now for one that never ran."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            last = tx.leases.find_run(job.name)
        if last is None:
            return now
        # A run that lies in the future tells of a clock that was wrong, and must not put the next one off.
        return min(last.started_at + job.interval, now + job.interval)

    def run(self, job: Job) -> JobRun | None:
        """Run a job now and record it; None when the lease was lost, and with it the run."""
        try:
            begun, before = self._begin(job)
            result, failed = self._work(job)
            is_news = job.audited and result != before and (failed or DID_SOMETHING.search(result) is not None)
            return self._finish(begun, result, failed=failed, is_news=is_news)
        except KmsError as error:
            _LOG.warning("a job's run is not recorded: %s, %s", job.name, error.code)
            return None

    def _begin(self, job: Job) -> tuple[JobRun, str]:
        """The run that begins, on record, and what the one before came to."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            last = tx.leases.find_run(job.name)
            due = now if last is None else last.started_at + job.interval
            run = JobRun(
                job=job.name,
                node=self._node,
                started_at=now,
                interval_s=job.interval.total_seconds(),
                lateness_s=max(0.0, (now - due).total_seconds()),
                runs=last.runs + 1 if last is not None else 1,
                failures=last.failures if last is not None else 0,
            )
            tx.leases.save_run(run)
        return run, last.result if last is not None else ""

    @staticmethod
    def _work(job: Job) -> tuple[str, bool]:
        """What the run came to, and whether it failed. Raises `scheduler.lease-lost`."""
        try:
            return job.work(), False
        except KmsError as error:
            if error.code is Code.LEASE_LOST:
                raise
            return f"{error.code}: {error.detail}", True
        except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on; its text could hold anything
            _LOG.exception("a job failed: %s", job.name)
            return f"{Code.INTERNAL}: {type(error).__name__}; see the scheduler's log", True

    def _finish(self, begun: JobRun, result: str, *, failed: bool, is_news: bool) -> JobRun:
        now = self._clock.now()
        run = replace(
            begun, finished_at=now, result=result, failed=failed, failures=begun.failures + (1 if failed else 0)
        )
        with self._store.transaction() as tx:
            tx.leases.save_run(run)
            if failed:
                text = f"the job {run.job} failed: {result}"
                alarm_id = self._identifiers.new()
                raise_alarm(tx, JOB_FAILED, run.job, text, AlarmSeverity.CRITICAL, alarm_id=alarm_id, at=now)
            else:
                tx.alarms.clear(JOB_FAILED, run.job, now)
            if is_news:
                outcome = "failed" if failed else "done"
                where = f"node {run.node}: {result}"
                event_id, subject = self._identifiers.new(), f"job {run.job}"
                tx.audit.append(AuditEvent(event_id, now, "scheduler", "scheduler.run", subject, outcome, "", where))
        return run


def read_status(store: Store) -> SchedulerStatus:
    """Who schedules, and what the jobs' last runs came to."""
    with store.transaction() as tx:
        return SchedulerStatus(tx.leases.now(), tx.leases.find(SCHEDULER), tx.leases.list_runs())
