"""Key sets: how each is derived and where it stands. No key value has a column."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import DerivationPurpose, KcvMethod, KeyType
from kms.db.models.base import Base, Id, PrimaryId, refer_to
from kms.db.types import CheckValues, enum_type
from kms.domain.keys import Delivery, KeyState

_IN_FORCE = text("state = 'ACTIVE' AND delivery = 'PROVED'")
_UNPROVED = text("delivery IN ('IN_DOUBT', 'IN_FLIGHT')")
_UNDATED = text("state = 'ACTIVE' AND delivery = 'PROVED' AND purpose IN ('isd', 'ssd') AND rotate_at IS NULL")


class KeySetRow(Base):
    """One key set of a security domain (`kms.domain.keys.KeySet`)."""

    __tablename__ = "key_sets"
    __table_args__ = (
        # All that is below a master, in the order in which campaigns and compromises go through it.
        Index("ix_key_sets_master_id_security_domain_id", "master_id", "security_domain_id"),
        # A generation is never used twice for one card, AID and purpose: the same generation is the same keys.
        UniqueConstraint("security_domain_id", "purpose", "generation"),
        # Key version numbers: 01-7F, or FF for a factory set (GP Card Specification 2.3.1 section 11.8.2.1).
        CheckConstraint("kvn BETWEEN 1 AND 127 OR kvn = 255", name="kvn"),
        CheckConstraint("generation >= 0", name="generation"),
        # What is due by a policy, in order; and what has no date although it is in force.
        Index("ix_key_sets_due", "policy_id", "rotate_at", "id", sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
        # What is past its end, and what may or may not be on a card.
        Index("ix_key_sets_ends", "expires_at", sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
        Index("ix_key_sets_unproved", "delivery", sqlite_where=_UNPROVED, postgresql_where=_UNPROVED),
        Index("ix_key_sets_undated", "id", sqlite_where=_UNDATED, postgresql_where=_UNDATED),
    )

    id: Mapped[PrimaryId]
    security_domain_id: Mapped[Id] = mapped_column(refer_to("security_domains.id"))
    kvn: Mapped[int]
    key_type: Mapped[KeyType] = mapped_column(enum_type(KeyType, "key_type"))
    purpose: Mapped[DerivationPurpose | None] = mapped_column(enum_type(DerivationPurpose, "purpose"))
    master_id: Mapped[Id] = mapped_column(refer_to("master_keys.id"))
    generation: Mapped[int]
    delivery: Mapped[Delivery] = mapped_column(enum_type(Delivery, "delivery"))
    state: Mapped[KeyState] = mapped_column(enum_type(KeyState, "state"))
    kcvs: Mapped[tuple[bytes, ...]] = mapped_column(CheckValues())
    kcv_method: Mapped[KcvMethod] = mapped_column(enum_type(KcvMethod, "kcv_method"))
    created_at: Mapped[datetime]
    proved_at: Mapped[datetime | None]
    replaced_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    policy_id: Mapped[Id | None]
    rotate_at: Mapped[datetime | None]
    noticed_days: Mapped[int | None]
