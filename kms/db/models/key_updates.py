"""Key updates."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KeyType
from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.updates import UpdateReason, UpdateState

_OPEN = text("state IN ('PENDING', 'RUNNING')")
_UNFINISHED = text("finished_at IS NULL")


class KeyUpdateRow(Base):
    """One security domain's key replacement (`kms.domain.updates.KeyUpdate`)."""

    __tablename__ = "key_updates"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts"),
        # A security domain is owed one replacement at a time, whoever asks for it.
        Index("uq_key_updates_open", "security_domain_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
        # What a presented card is owed: by its security domains, open ones only.
        Index("ix_key_updates_security_domain_id_state", "security_domain_id", "state"),
        # All that is pending, and what is overdue.
        Index("ix_key_updates_state_due_at", "state", "due_at"),
        # All that is pending, the earliest due first, page by page.
        Index("ix_key_updates_pending", "due_at", "id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
        # What is past its deadline.
        Index("ix_key_updates_deadline", "deadline", sqlite_where=_OPEN, postgresql_where=_OPEN),
        # What became of a campaign's updates.
        Index("ix_key_updates_campaign_id_state", "campaign_id", "state"),
    )

    id: Mapped[PrimaryId]
    security_domain_id: Mapped[Id] = mapped_column(refer_to("security_domains.id"))
    reason: Mapped[UpdateReason] = mapped_column(enum_type(UpdateReason, "reason"))
    state: Mapped[UpdateState] = mapped_column(enum_type(UpdateState, "state"))
    requested_at: Mapped[datetime]
    requested_by: Mapped[Name]
    due_at: Mapped[datetime]
    attempts: Mapped[int]
    new_key_set_id: Mapped[Id | None] = mapped_column(refer_to("key_sets.id"))
    application_id: Mapped[Id | None] = mapped_column(refer_to("applications.id"))
    finished_at: Mapped[datetime | None]
    failure: Mapped[Note]
    failure_code: Mapped[Name]
    deadline: Mapped[datetime | None]
    campaign_id: Mapped[Id | None] = mapped_column(refer_to("campaigns.id"))
    key_type: Mapped[KeyType | None] = mapped_column(enum_type(KeyType, "key_type"))
    past_end: Mapped[bool]
    past_end_reason: Mapped[Note]
