"""The platform's condition, repair orders, and what was found on cards."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import DerivationPurpose, KeyType
from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.recovery import FindingKind, PlatformCondition, RepairState


class PlatformStateRow(Base):
    """The platform's condition (`kms.domain.recovery.PlatformState`): at most one row."""

    __tablename__ = "platform_state"

    id: Mapped[PrimaryId]
    condition: Mapped[PlatformCondition] = mapped_column(enum_type(PlatformCondition, "condition"))
    changed_at: Mapped[datetime]
    changed_by: Mapped[Name]
    reason: Mapped[Note]
    restored_at: Mapped[datetime | None]
    behind_since: Mapped[datetime | None]


class RepairOrderRow(Base):
    """One repair order (`kms.domain.recovery.RepairOrder`)."""

    __tablename__ = "repair_orders"
    __table_args__ = (Index("ix_repair_orders_card_id_state", "card_id", "state"),)

    id: Mapped[PrimaryId]
    card_id: Mapped[Id] = mapped_column(refer_to("cards.id"))
    terminal_id: Mapped[Id | None] = mapped_column(refer_to("terminals.id"))
    state: Mapped[RepairState] = mapped_column(enum_type(RepairState, "state"))
    requested_at: Mapped[datetime]
    requested_by: Mapped[Name]
    finished_at: Mapped[datetime | None]
    finished_by: Mapped[Name]


class KeyFindingRow(Base):
    """One finding (`kms.domain.recovery.KeyFinding`)."""

    __tablename__ = "key_findings"
    __table_args__ = (
        Index("ix_key_findings_card_id", "card_id"),
        Index("ix_key_findings_repair_order_id", "repair_order_id"),
    )

    id: Mapped[PrimaryId]
    card_id: Mapped[Id] = mapped_column(refer_to("cards.id"))
    security_domain_id: Mapped[Id] = mapped_column(refer_to("security_domains.id"))
    visit_id: Mapped[Id] = mapped_column(refer_to("visits.id"))
    found_at: Mapped[datetime]
    kind: Mapped[FindingKind] = mapped_column(enum_type(FindingKind, "kind"))
    kvn: Mapped[int]
    counter: Mapped[int]
    key_set_id: Mapped[Id | None] = mapped_column(refer_to("key_sets.id"))
    purpose: Mapped[DerivationPurpose | None] = mapped_column(enum_type(DerivationPurpose, "purpose"))
    key_type: Mapped[KeyType | None] = mapped_column(enum_type(KeyType, "key_type"))
    master_id: Mapped[Id | None] = mapped_column(refer_to("master_keys.id"))
    generation: Mapped[int | None]
    repair_order_id: Mapped[Id | None] = mapped_column(refer_to("repair_orders.id"))
    applied_at: Mapped[datetime | None]
