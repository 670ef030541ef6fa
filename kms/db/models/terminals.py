"""Terminals."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Name, Note, PrimaryId
from kms.db.types import LimitsText, enum_type
from kms.domain.terminal_limits import TerminalLimits
from kms.domain.visits import TerminalState


class TerminalRow(Base):
    """One enrolled terminal (`kms.domain.visits.Terminal`). The unique fingerprint is what every request looks up."""

    __tablename__ = "terminals"
    __table_args__ = (CheckConstraint("length(fingerprint) = 32", name="fingerprint_length"),)

    id: Mapped[PrimaryId]
    name: Mapped[Name] = mapped_column(unique=True)
    fingerprint: Mapped[bytes] = mapped_column(unique=True)
    state: Mapped[TerminalState] = mapped_column(enum_type(TerminalState, "state"))
    enrolled_at: Mapped[datetime]
    reason: Mapped[Note]
    trusted_since: Mapped[datetime | None]
    limits: Mapped[TerminalLimits] = mapped_column(LimitsText())
