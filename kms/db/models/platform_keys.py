"""This platform's key pairs and the peers' public keys as records; the private halves are in the HSM."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Name, PrimaryId
from kms.db.types import enum_type
from kms.domain.keys import KeyState, PlatformKeyPurpose

_ACTIVE = text("state = 'ACTIVE'")


class PlatformKeyRow(Base):
    """One key pair (`kms.domain.keys.PlatformKey`)."""

    __tablename__ = "platform_keys"
    __table_args__ = (
        CheckConstraint("length(object_id) = 16", name="object_id_length"),
        # Two runs at once may each make a pair; one of them alone becomes the platform's.
        Index(
            "uq_platform_keys_active_purpose", "purpose", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
        ),
    )

    id: Mapped[PrimaryId]
    name: Mapped[Name]
    purpose: Mapped[PlatformKeyPurpose] = mapped_column(enum_type(PlatformKeyPurpose, "purpose"))
    object_id: Mapped[bytes] = mapped_column(unique=True)
    public_key_der: Mapped[bytes]
    state: Mapped[KeyState] = mapped_column(enum_type(KeyState, "state"))
    created_at: Mapped[datetime]


class PeerKeyRow(Base):
    """One pinned signing key of a peer (`kms.domain.keys.PeerKey`)."""

    __tablename__ = "peer_keys"
    __table_args__ = (
        Index("uq_peer_keys_active_peer", "peer", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    )

    id: Mapped[PrimaryId]
    peer: Mapped[Name]
    public_key_der: Mapped[bytes]
    state: Mapped[KeyState] = mapped_column(enum_type(KeyState, "state"))
    pinned_at: Mapped[datetime]
