"""What the audit log asks of the database (a part of `kms.service.ports`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from kms.domain.audit import AuditEvent
from kms.domain.audit_chain import AuditRecord, ChainHead, Checkpoint


class AuditRepository(Protocol):
    def contains(self, event_id: str) -> bool:
        """Whether the event was written."""
        ...

    def append(self, event: AuditEvent) -> None: ...
    def append_all(self, events: Sequence[AuditEvent]) -> None:
        """Append in this order, in one statement for many."""
        ...

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[AuditEvent]:
        """Newest first."""
        ...

    def list_heads(self, since: datetime | None = None) -> Sequence[ChainHead]:
        """The ends of all chains, or of those with a record at or after `since`, by name."""
        ...

    def list_records(self, chain: str, *, after: int, up_to: int, limit: int = 1000) -> Sequence[AuditRecord]:
        """The first records of a chain with sequences above `after`, up to `up_to`, in order."""
        ...

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Raises `input.conflict` when there is one of this number."""
        ...

    def find_last_checkpoint(self) -> Checkpoint | None:
        """Raises `audit.broken` when it cannot be read."""
        ...

    def list_checkpoints(self, *, after: int = 0, limit: int = 100) -> Sequence[Checkpoint]:
        """With numbers above `after`, the oldest first. Raises `audit.broken`."""
        ...
