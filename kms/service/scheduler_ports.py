"""What alarms, leases and keeping house need of the store.

Rules: those of `kms.service.ports`. What concerns many rows is a few statements, in bounded batches.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from kms.domain.alarms import Alarm
from kms.domain.housekeeping import ExpiredVisits, FleetFigures, Overdue
from kms.domain.leases import JobRun, Lease


class AlarmRepository(Protocol):
    """Alarms; reading by id and writing as `kms.service.ports.Repository`."""

    def get(self, item_id: str) -> Alarm: ...
    def find(self, item_id: str) -> Alarm | None: ...
    def save(self, item: Alarm) -> None: ...
    def raise_(self, alarm: Alarm) -> Alarm:
        """Open the alarm, or count it in the open one of its kind and subject; what is stored now.

        An open one gets text, severity and `last_at` of the new one.
        """
        ...

    def clear(self, kind: str, subject: str, at: datetime) -> bool:
        """Close the open alarm of this kind and subject; whether there was one."""
        ...

    def list_open(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        """Oldest first."""
        ...

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]: ...


class HousekeepingRepository(Protocol):
    """Sets of rows in a few statements, whatever their number."""

    def expire_visits(self, before: datetime, at: datetime, why: str, limit: int) -> ExpiredVisits:
        """End up to `limit` OPEN visits whose deadline was before that; their cards are claimed.

        What is in flight on their cards is in doubt and their RUNNING updates are PENDING again, unless another open
        visit may go on with them. `why`: the visits' result. Raises `visit.conflict` when a step came between.
        """
        ...

    def delete_visits(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` visits that are over, with their journals, whose deadline was before that; how many.

        Visits with a cryptogram that fitted no known set are evidence, and stay. The database refuses deadlines that
        are less than seven days past.
        """
        ...

    def count_overdue(self, now: datetime) -> Overdue: ...
    def read_figures(self, now: datetime) -> FleetFigures:
        """The platform in numbers, by a handful of aggregate statements."""
        ...


class LeaseRepository(Protocol):
    """Leases and the last runs of jobs."""

    def now(self) -> datetime:
        """The database's clock."""
        ...

    def find(self, name: str) -> Lease | None: ...
    def add(self, lease: Lease) -> None: ...
    def replace(self, lease: Lease, fence: int) -> bool:
        """Write a lease where the stored one still has this fence; whether it had."""
        ...

    def check(self, name: str, fence: int) -> None:
        """Raise `scheduler.lease-lost` unless the lease still has this fence, and keep it so until the commit."""
        ...

    def find_run(self, job: str) -> JobRun | None: ...
    def list_runs(self) -> Sequence[JobRun]:
        """The last run of each job, by name."""
        ...

    def save_run(self, run: JobRun) -> None: ...
