"""The audit log: records in chains, and the checkpoints that join them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, Name, Note


class AuditEventRow(Base):
    """One audit record (`kms.domain.audit_chain.AuditRecord`). Append-only: a trigger refuses UPDATE and DELETE."""

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("sequence >= 1", name="sequence"),
        CheckConstraint("length(digest) = 32", name="digest_length"),
        # The newest first, for people; and the chains that grew since a checkpoint.
        Index("ix_audit_events_at", "at", "chain", "sequence"),
    )

    # SQLite takes a BIGINT in a key for what it is, an INTEGER for its own row number.
    chain: Mapped[Name] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    id: Mapped[Id] = mapped_column(unique=True)
    at: Mapped[datetime]
    actor: Mapped[Name]
    action: Mapped[Name]
    subject: Mapped[Name] = mapped_column(index=True)
    result: Mapped[Name]
    kcv: Mapped[Name]
    detail: Mapped[Note]
    reason: Mapped[Note]
    request_id: Mapped[Name]


class AuditCheckpointRow(Base):
    """One checkpoint as the line that an export holds (`kms.domain.audit_chain.Checkpoint`). Append-only."""

    __tablename__ = "audit_checkpoints"
    __table_args__ = (CheckConstraint("number >= 1", name="number"),)

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    line: Mapped[Note]
