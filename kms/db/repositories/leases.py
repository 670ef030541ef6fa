"""Leases and the last runs of jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import Connection, Table, func, insert, select, text, update

from kms.db.faults import translate_faults
from kms.db.models import JobRunRow, LeaseRow
from kms.db.repositories.base import build_values
from kms.domain.leases import JobRun, Lease
from kms.errors import Code, KmsError

NOUN = "lease"
LEASES = cast("Table", LeaseRow.__table__)
JOB_RUNS = cast("Table", JobRunRow.__table__)

CHECKS = {
    # The transaction holds SQLite's one write lock already: nobody takes the lease over before it ends.
    "sqlite": text("SELECT fence FROM leases WHERE name = :name"),
    # FOR SHARE: whoever takes the lease over waits for this transaction, and so cannot begin beside it. A process that
    # is stopped in the middle of it is cut off by the database well before its lease ends.
    "postgresql": text(
        "SELECT fence, set_config('idle_in_transaction_session_timeout', (seconds * 500)::text || 'ms', true)"
        " FROM leases WHERE name = :name FOR SHARE"
    ),
}


class SqlLeaseRepository:
    """`kms.service.ports.LeaseRepository`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_postgresql = connection.dialect.name == "postgresql"

    def now(self) -> datetime:
        """The database's clock; SQLite's is that of this machine."""
        if not self._is_postgresql:
            return datetime.fromisoformat(
                self._connection.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
            ).replace(tzinfo=UTC)
        # Not now(), which stands still since the transaction began.
        with translate_faults(NOUN):
            at: datetime = self._connection.execute(select(func.clock_timestamp())).scalar_one()
        return at.astimezone(UTC)

    def find(self, name: str) -> Lease | None:
        """Read a lease."""
        with translate_faults(NOUN):
            row = self._connection.execute(select(LEASES).where(LEASES.c.name == name)).mappings().first()
        return None if row is None else Lease(**row)

    def add(self, lease: Lease) -> None:
        """Insert a lease that nobody held before. Raises `input.conflict`."""
        with translate_faults(NOUN):
            self._connection.execute(insert(LEASES).values(build_values(lease)))

    def replace(self, lease: Lease, fence: int) -> bool:
        """Write a lease where the stored one still has this fence; whether it had."""
        statement = update(LEASES).where(LEASES.c.name == lease.name, LEASES.c.fence == fence)
        with translate_faults(NOUN):
            return self._connection.execute(statement.values(build_values(lease))).rowcount > 0

    def check(self, name: str, fence: int) -> None:
        """Raise `scheduler.lease-lost` unless the lease still has this fence, and keep it so until the commit."""
        with translate_faults(NOUN):
            stored = self._connection.execute(CHECKS[self._connection.dialect.name], {"name": name}).scalar()
        if stored != fence:
            raise KmsError(Code.LEASE_LOST, "another node has taken the scheduler's lease over; nothing was written")

    def find_run(self, job: str) -> JobRun | None:
        """Read a job's last run."""
        with translate_faults(NOUN):
            row = self._connection.execute(select(JOB_RUNS).where(JOB_RUNS.c.job == job)).mappings().first()
        return None if row is None else JobRun(**row)

    def list_runs(self) -> Sequence[JobRun]:
        """Read the last run of each job, by name."""
        with translate_faults(NOUN):
            rows = self._connection.execute(select(JOB_RUNS).order_by(JOB_RUNS.c.job)).mappings().all()
        return [JobRun(**row) for row in rows]

    def save_run(self, run: JobRun) -> None:
        """Write a job's last run over the one before."""
        values = build_values(run)
        with translate_faults(NOUN):
            changed = self._connection.execute(update(JOB_RUNS).where(JOB_RUNS.c.job == run.job).values(values))
            if changed.rowcount == 0:
                self._connection.execute(insert(JOB_RUNS).values(values))
