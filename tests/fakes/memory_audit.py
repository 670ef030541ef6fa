"""The audit log in memory."""

from collections.abc import Sequence
from datetime import datetime

from kms.domain.audit import AuditEvent
from kms.domain.audit_chain import AuditRecord, ChainHead, Checkpoint, begin_chain, build_record
from kms.errors import Code, KmsError


class MemoryAudit:
    """One chain for all that write, called `memory`."""

    def __init__(self, records: list[AuditRecord], checkpoints: list[Checkpoint]) -> None:
        self._records = records
        self._checkpoints = checkpoints

    def append(self, event: AuditEvent) -> None:
        if any(old.event.id == event.id for old in self._records):
            raise KmsError(Code.CONFLICT, "The audit event exists.")
        head = self._records[-1].head if self._records else begin_chain("memory")
        self._records.append(build_record(head, event))

    def contains(self, event_id: str) -> bool:
        return any(record.event.id == event_id for record in self._records)

    def append_all(self, events: Sequence[AuditEvent]) -> None:
        for event in events:
            self.append(event)

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[AuditEvent]:
        newest = sorted(self._records, key=lambda record: (record.event.at, record.sequence), reverse=True)
        return [record.event for record in newest[offset : offset + limit]]

    def list_heads(self, since: datetime | None = None) -> Sequence[ChainHead]:
        fresh = [record for record in self._records if since is None or record.event.at >= since]
        return [max(fresh, key=lambda record: record.sequence).head] if fresh else []

    def list_records(self, chain: str, *, after: int, up_to: int, limit: int = 1000) -> Sequence[AuditRecord]:
        return [item for item in self._records if item.chain == chain and after < item.sequence <= up_to][:limit]

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        if any(old.number == checkpoint.number for old in self._checkpoints):
            raise KmsError(Code.CONFLICT, "The checkpoint exists.")
        self._checkpoints.append(checkpoint)

    def find_last_checkpoint(self) -> Checkpoint | None:
        return self._checkpoints[-1] if self._checkpoints else None

    def list_checkpoints(self, *, after: int = 0, limit: int = 100) -> Sequence[Checkpoint]:
        return [item for item in self._checkpoints if item.number > after][:limit]
