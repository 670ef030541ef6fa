"""Applications asked for on cards."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.cards import ApplicationState


class ApplicationRow(Base):
    """One application of a card user (`kms.domain.cards.Application`)."""

    __tablename__ = "applications"
    __table_args__ = (
        CheckConstraint("length(aid) BETWEEN 5 AND 16", name="aid_length"),
        Index("ix_applications_card_id_aid", "card_id", "aid"),
    )

    id: Mapped[PrimaryId]
    card_id: Mapped[Id] = mapped_column(refer_to("cards.id"))
    aid: Mapped[bytes]
    security_domain_id: Mapped[Id] = mapped_column(refer_to("security_domains.id"))
    state: Mapped[ApplicationState] = mapped_column(enum_type(ApplicationState, "state"))
    requested_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
