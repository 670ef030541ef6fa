"""Security domains."""

from datetime import datetime

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KeyType
from kms.db.models.base import Base, Id, Name, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.cards import DomainKind, DomainState


class SecurityDomainRow(Base):
    """One security domain of a card (`kms.domain.cards.SecurityDomain`)."""

    __tablename__ = "security_domains"
    __table_args__ = (
        # One row for a card and AID for ever: generations never start again, not even for an SSD made anew.
        UniqueConstraint("card_id", "aid"),
        CheckConstraint("length(aid) BETWEEN 5 AND 16", name="aid_length"),
        CheckConstraint("last_generation >= -1", name="last_generation"),
    )

    id: Mapped[PrimaryId]
    card_id: Mapped[Id] = mapped_column(refer_to("cards.id"))
    parent_id: Mapped[Id | None] = mapped_column(refer_to("security_domains.id"))
    aid: Mapped[bytes]
    kind: Mapped[DomainKind] = mapped_column(enum_type(DomainKind, "kind"))
    state: Mapped[DomainState] = mapped_column(enum_type(DomainState, "state"))
    managed_by: Mapped[Name]
    privileges: Mapped[bytes]
    last_generation: Mapped[int]
    created_at: Mapped[datetime]
    looked_at: Mapped[datetime | None]
    key_type: Mapped[KeyType | None] = mapped_column(enum_type(KeyType, "key_type"))
