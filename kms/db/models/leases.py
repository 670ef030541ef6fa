"""Leases and the last runs of jobs."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Name, Note


class LeaseRow(Base):
    """One lease (`kms.domain.leases.Lease`)."""

    __tablename__ = "leases"
    __table_args__ = (
        CheckConstraint("fence >= 1", name="fence"),
        CheckConstraint("seconds >= 1", name="seconds"),
    )

    name: Mapped[Name] = mapped_column(primary_key=True)
    holder: Mapped[Name]
    fence: Mapped[int]
    seconds: Mapped[int]
    expires_at: Mapped[datetime]


class JobRunRow(Base):
    """The last run of a scheduled job (`kms.domain.leases.JobRun`)."""

    __tablename__ = "job_runs"

    job: Mapped[Name] = mapped_column(primary_key=True)
    node: Mapped[Name]
    started_at: Mapped[datetime]
    interval_s: Mapped[float]
    lateness_s: Mapped[float]
    finished_at: Mapped[datetime | None]
    result: Mapped[Note]
    failed: Mapped[bool]
    runs: Mapped[int]
    failures: Mapped[int]
