"""Cards."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import Diversification
from kms.db.models.base import Base, Name, Note, PrimaryId
from kms.db.types import enum_type
from kms.domain.cards import CardState

_QUARANTINED = text("state = 'QUARANTINED'")


class CardRow(Base):
    """One enrolled card (`kms.domain.cards.Card`). The unique identity is also the index that terminals search by."""

    __tablename__ = "cards"
    __table_args__ = (
        CheckConstraint("length(identity) BETWEEN 1 AND 32", name="identity_length"),
        CheckConstraint("length(kdd) = 10", name="kdd_length"),
        CheckConstraint("scp02_i BETWEEN 0 AND 255", name="scp02_i"),
        CheckConstraint("scp03_i BETWEEN 0 AND 255", name="scp03_i"),
        CheckConstraint("version >= 0", name="version"),
        # What officers have to decide.
        Index("ix_cards_quarantined", "state", sqlite_where=_QUARANTINED, postgresql_where=_QUARANTINED),
    )

    id: Mapped[PrimaryId]
    identity: Mapped[bytes] = mapped_column(unique=True)
    kdd: Mapped[bytes]
    scp02_i: Mapped[int | None]
    scp03_i: Mapped[int | None]
    profile: Mapped[Name]
    diversification: Mapped[Diversification] = mapped_column(enum_type(Diversification, "diversification"))
    state: Mapped[CardState] = mapped_column(enum_type(CardState, "state"))
    enrolled_at: Mapped[datetime]
    quarantine_reason: Mapped[Note]
    quarantine_code: Mapped[Name]
    version: Mapped[int]
    trusted_since: Mapped[datetime | None]
    scp02_claimed: Mapped[bool]
    scp03_claimed: Mapped[bool]
    batch: Mapped[Name] = mapped_column(server_default="")
