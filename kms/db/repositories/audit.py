"""Audit events: written once, never changed."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from kms.db.faults import translate_faults
from kms.db.models import AuditEventRow
from kms.db.repositories.base import build_values
from kms.domain.audit import AuditEvent


class SqlAuditRepository:
    """`kms.service.ports.AuditRepository`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, event: AuditEvent) -> None:
        """Write a record; it is durable when the transaction commits, and without it the transaction fails."""
        with translate_faults("audit event"):
            self._connection.execute(insert(AuditEventRow).values(build_values(event)))

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[AuditEvent]:
        """Read a page, newest first."""
        columns = [column for column in AuditEventRow.__table__.columns if column.name != "number"]
        statement = select(*columns).order_by(AuditEventRow.number.desc()).limit(limit).offset(offset)
        with translate_faults("audit event"):
            return [AuditEvent(**row) for row in self._connection.execute(statement).mappings()]
