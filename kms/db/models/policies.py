"""Policies with their history, and what each asked for on each day."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Name, PrimaryId
from kms.db.types import PolicyText, enum_type
from kms.domain.policies import Policy, PolicyState

_IN_FORCE = text("state = 'IN_FORCE'")


class PolicyVersionRow(Base):
    """One version of a policy (`kms.domain.policies.PolicyVersion`)."""

    __tablename__ = "policy_versions"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint("version >= 1", name="version"),
        # Two who apply at once would each end the one before; one version of a name alone is in force.
        Index("uq_policy_versions_in_force", "name", unique=True, sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
    )

    id: Mapped[PrimaryId]
    name: Mapped[Name]
    version: Mapped[int]
    state: Mapped[PolicyState] = mapped_column(enum_type(PolicyState, "state"))
    policy: Mapped[Policy] = mapped_column(PolicyText())
    applied_at: Mapped[datetime]
    applied_by: Mapped[Name]
    settled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class PolicyDayRow(Base):
    """How many expiry updates a policy asked for on a day (UTC): what its cap of the day is kept by.

    Every batch of a sweep writes the row, so that two sweeps at once go one after the other.
    """

    __tablename__ = "policy_days"
    __table_args__ = (CheckConstraint("asked >= 0", name="asked"),)

    name: Mapped[Name] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    asked: Mapped[int]
