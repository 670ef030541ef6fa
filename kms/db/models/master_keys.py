"""Master keys as records; the keys themselves are in the HSM."""

from datetime import datetime

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KcvMethod, KeyType
from kms.db.models.base import Base, Name, PrimaryId
from kms.db.types import enum_type
from kms.domain.keys import KeyState, MasterKind


class MasterKeyRow(Base):
    """One master key (`kms.domain.keys.MasterKey`)."""

    __tablename__ = "master_keys"
    __table_args__ = (
        UniqueConstraint("kind", "name", "generation"),
        CheckConstraint("length(object_id) = 16", name="object_id_length"),
        CheckConstraint("generation >= 1", name="generation"),
    )

    id: Mapped[PrimaryId]
    name: Mapped[Name]
    kind: Mapped[MasterKind] = mapped_column(enum_type(MasterKind, "kind"))
    generation: Mapped[int]
    key_type: Mapped[KeyType] = mapped_column(enum_type(KeyType, "key_type"))
    object_id: Mapped[bytes] = mapped_column(unique=True)
    kcv: Mapped[bytes]
    kcv_method: Mapped[KcvMethod] = mapped_column(enum_type(KcvMethod, "kcv_method"))
    state: Mapped[KeyState] = mapped_column(enum_type(KeyState, "state"))
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
