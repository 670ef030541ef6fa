"""Cards."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import Diversification
from kms.db.models.base import Base, Name, Note, PrimaryId
from kms.db.types import enum_type
from kms.domain.cards import CardState


class CardRow(Base):
    """One enrolled card (`kms.domain.cards.Card`). The unique identity is also the index that terminals search by."""

    __tablename__ = "cards"
    __table_args__ = (
        CheckConstraint("length(identity) BETWEEN 1 AND 32", name="identity_length"),
        CheckConstraint("length(kdd) = 10", name="kdd_length"),
        CheckConstraint("scp IN (2, 3)", name="scp"),
        CheckConstraint("version >= 0", name="version"),
    )

    id: Mapped[PrimaryId]
    identity: Mapped[bytes] = mapped_column(unique=True)
    kdd: Mapped[bytes]
    scp: Mapped[int]
    scp_i: Mapped[int]
    profile: Mapped[Name]
    diversification: Mapped[Diversification] = mapped_column(enum_type(Diversification, "diversification"))
    state: Mapped[CardState] = mapped_column(enum_type(CardState, "state"))
    enrolled_at: Mapped[datetime]
    quarantine_reason: Mapped[Note]
    version: Mapped[int]
    trusted_since: Mapped[datetime | None]
