"""Transfers of security domains between platforms."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KeyType
from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.transfers import TransferReason, TransferSide, TransferState


class TransferRow(Base):
    """One transfer as this platform records it (`kms.domain.transfers.Transfer`)."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("length(aid) BETWEEN 5 AND 16", name="aid_length"),
        CheckConstraint("length(card_identity) BETWEEN 1 AND 32", name="card_identity_length"),
        Index("ix_transfers_card_identity", "card_identity"),
        Index("ix_transfers_peer_requested_at", "peer", "requested_at"),
        Index("ix_transfers_security_domain_id", "security_domain_id"),
    )

    id: Mapped[PrimaryId]
    side: Mapped[TransferSide] = mapped_column(enum_type(TransferSide, "side"))
    peer: Mapped[Name]
    reason: Mapped[TransferReason] = mapped_column(enum_type(TransferReason, "reason"))
    card_identity: Mapped[bytes]
    aid: Mapped[bytes]
    privileges: Mapped[bytes]
    key_type: Mapped[KeyType] = mapped_column(enum_type(KeyType, "key_type"))
    state: Mapped[TransferState] = mapped_column(enum_type(TransferState, "state"))
    requested_at: Mapped[datetime]
    security_domain_id: Mapped[Id | None] = mapped_column(refer_to("security_domains.id"))
    envelope: Mapped[Note | None]
    session_id: Mapped[Name]
    refusal: Mapped[Note]
    handed_over_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
