"""Campaigns."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KeyType
from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import FilterText, enum_type
from kms.domain.campaigns import CampaignFilter, CampaignState
from kms.domain.updates import UpdateReason


class CampaignRow(Base):
    """One campaign (`kms.domain.campaigns.Campaign`). `chosen`: the filter as JSON."""

    __tablename__ = "campaigns"
    __table_args__ = (
        CheckConstraint("per_day IS NULL OR per_day > 0", name="per_day"),
        CheckConstraint("max_failures IS NULL OR max_failures > 0", name="max_failures"),
        CheckConstraint("max_percent IS NULL OR max_percent BETWEEN 1 AND 100", name="max_percent"),
    )

    id: Mapped[PrimaryId]
    name: Mapped[Name] = mapped_column(unique=True)
    reason: Mapped[UpdateReason] = mapped_column(enum_type(UpdateReason, "reason"))
    state: Mapped[CampaignState] = mapped_column(enum_type(CampaignState, "state"), index=True)
    chosen: Mapped[CampaignFilter] = mapped_column(FilterText())
    max_failures: Mapped[int | None]
    max_percent: Mapped[int | None]
    percent_minimum: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[Name]
    released_until: Mapped[datetime]
    deadline: Mapped[datetime | None]
    per_day: Mapped[int | None]
    key_type: Mapped[KeyType | None] = mapped_column(enum_type(KeyType, "key_type"))
    master_id: Mapped[Id | None] = mapped_column(refer_to("master_keys.id"))
    cursor: Mapped[Name]
    matched: Mapped[int]
    added: Mapped[int]
    failed_before: Mapped[int]
    finished_before: Mapped[int]
    state_reason: Mapped[Note]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
