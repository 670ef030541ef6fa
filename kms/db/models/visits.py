"""Visits and their journal."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.visits import VisitState


class VisitRow(Base):
    """One visit's whole state (`kms.domain.visits.Visit`). The unique `session_id` names it to its terminal."""

    __tablename__ = "visits"
    __table_args__ = (
        Index("ix_visits_card_id_state", "card_id", "state"),
        Index("ix_visits_state_deadline", "state", "deadline"),
        Index("ix_visits_terminal_id_opened_at", "terminal_id", "opened_at"),
    )

    id: Mapped[PrimaryId]
    session_id: Mapped[Name] = mapped_column(unique=True)
    terminal_id: Mapped[Id] = mapped_column(refer_to("terminals.id"))
    card_id: Mapped[Id] = mapped_column(refer_to("cards.id"))
    state: Mapped[VisitState] = mapped_column(enum_type(VisitState, "state"))
    opened_at: Mapped[datetime]
    deadline: Mapped[datetime]
    order_number: Mapped[int]
    order: Mapped[Note | None]
    program: Mapped[Note | None]
    update_id: Mapped[Id | None] = mapped_column(refer_to("key_updates.id"))
    report_digest: Mapped[bytes]
    reconciliations: Mapped[int]
    mismatches: Mapped[int]
    commands_sent: Mapped[int]
    events: Mapped[int]
    requests: Mapped[int]
    result: Mapped[Note]
    ended_at: Mapped[datetime | None]


class VisitEventRow(Base):
    """One line of a visit's journal (`kms.domain.visits.VisitEvent`). Append-only: a trigger refuses all else."""

    __tablename__ = "visit_events"

    visit_id: Mapped[Id] = mapped_column(refer_to("visits.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[Name]
    text: Mapped[Note]
