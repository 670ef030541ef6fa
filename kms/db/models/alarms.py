"""Alarms."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Name, Note, PrimaryId
from kms.db.types import enum_type
from kms.domain.alarms import AlarmSeverity

OPEN = text("cleared_at IS NULL")


class AlarmRow(Base):
    """One condition that a person has to know of (`kms.domain.alarms.Alarm`)."""

    __tablename__ = "alarms"
    __table_args__ = (
        CheckConstraint("count >= 1", name="count"),
        # At most one is open of a kind and subject.
        Index("uq_alarms_open", "kind", "subject", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
    )

    id: Mapped[PrimaryId]
    kind: Mapped[Name]
    subject: Mapped[Name]
    text: Mapped[Note]
    severity: Mapped[AlarmSeverity] = mapped_column(enum_type(AlarmSeverity, "severity"))
    raised_at: Mapped[datetime]
    last_at: Mapped[datetime]
    count: Mapped[int]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[Name]
    cleared_at: Mapped[datetime | None]
