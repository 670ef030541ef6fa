"""Audit events."""

from datetime import datetime

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, Name, Note


class AuditEventRow(Base):
    """One audit record (`kms.domain.audit.AuditEvent`). Append-only: a trigger refuses UPDATE and DELETE.

    `number` orders the records as they were written; two may carry the same time.
    """

    __tablename__ = "audit_events"
    __table_args__ = ({"sqlite_autoincrement": True},)  # a number is never given twice

    # SQLite counts up only an INTEGER primary key.
    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    id: Mapped[Id] = mapped_column(unique=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[Name]
    action: Mapped[Name]
    subject: Mapped[Name] = mapped_column(index=True)
    result: Mapped[Name]
    kcv: Mapped[Name]
    detail: Mapped[Note]
