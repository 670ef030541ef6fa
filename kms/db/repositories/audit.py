"""The audit log: written once, never changed.

Rules: a writer is one thread of one process and has a chain of its own, so that no two transactions wait for each other
at the end of a chain. Where its chain ends it remembers from its last commit; after a transaction that failed it reads
it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from kms.db.faults import translate_faults
from kms.db.models import AuditCheckpointRow, AuditEventRow
from kms.db.repositories.base import split_batches
from kms.domain.audit import AuditEvent
from kms.domain.audit_chain import (
    AuditRecord,
    ChainHead,
    Checkpoint,
    begin_chain,
    build_checkpoint_line,
    build_record,
    parse_checkpoint_line,
)

NOUN = "audit event"
_ADD = insert(AuditEventRow)
_EVENT = [getattr(AuditEventRow, name) for name in AuditEvent.__dataclass_fields__]


@dataclass
class ChainWriter:
    """One thread's chain. `head`: where it ends, None when that is not known."""

    chain: str
    head: ChainHead | None = field(default=None)


class SqlAuditRepository:
    """`kms.service.ports.AuditRepository`. `writer`: None in a transaction that only reads."""

    def __init__(self, connection: Connection, writer: ChainWriter | None) -> None:
        self._connection = connection
        self._writer = writer

    def append(self, event: AuditEvent) -> None:
        """Write an event; it is durable when the transaction commits, and without it the transaction fails."""
        self.append_all([event])

    def append_all(self, events: Sequence[AuditEvent]) -> None:
        """Write events in this order, in one statement for many."""
        if self._writer is None:
            raise RuntimeError("a transaction that only reads writes no audit event")
        head = self._writer.head or self._read_head(self._writer.chain)
        rows = []
        for event in events:
            record = build_record(head, event)
            rows.append({"chain": record.chain, "sequence": record.sequence, "digest": record.digest, **vars(event)})
            head = record.head
        with translate_faults(NOUN):
            for batch in split_batches(rows):
                self._connection.execute(_ADD, batch)
        self._writer.head = head

    def contains(self, event_id: str) -> bool:
        """Whether the event was written."""
        with translate_faults(NOUN):
            return (
                self._connection.execute(select(AuditEventRow.id).where(AuditEventRow.id == event_id)).first()
                is not None
            )

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[AuditEvent]:
        """Read a page, newest first."""
        newest = (AuditEventRow.at.desc(), AuditEventRow.chain.desc(), AuditEventRow.sequence.desc())
        statement = select(*_EVENT).order_by(*newest).limit(limit).offset(offset)
        with translate_faults(NOUN):
            return [AuditEvent(**row) for row in self._connection.execute(statement).mappings()]

    def list_heads(self, since: datetime | None = None) -> Sequence[ChainHead]:
        """The ends of all chains, or of those with a record at or after `since`, by name."""
        ends = select(AuditEventRow.chain, func.max(AuditEventRow.sequence).label("sequence"))
        if since is not None:
            ends = ends.where(AuditEventRow.at >= since)
        found = ends.group_by(AuditEventRow.chain).subquery()
        statement = (
            select(AuditEventRow.chain, AuditEventRow.sequence, AuditEventRow.digest)
            .join(found, (AuditEventRow.chain == found.c.chain) & (AuditEventRow.sequence == found.c.sequence))
            .order_by(AuditEventRow.chain)
        )
        with translate_faults(NOUN):
            return [ChainHead(*row) for row in self._connection.execute(statement)]

    def list_records(self, chain: str, *, after: int, up_to: int, limit: int = 1000) -> Sequence[AuditRecord]:
        """The first `limit` records of a chain with sequences above `after`, up to `up_to`, in order."""
        statement = (
            select(AuditEventRow.sequence, AuditEventRow.digest, *_EVENT)
            .where(AuditEventRow.chain == chain, AuditEventRow.sequence > after, AuditEventRow.sequence <= up_to)
            .order_by(AuditEventRow.sequence)
            .limit(limit)
        )
        with translate_faults(NOUN):
            rows = self._connection.execute(statement).all()
        return [AuditRecord(chain, sequence, AuditEvent(*values), digest) for sequence, digest, *values in rows]

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. Raises `input.conflict` when another node wrote one of this number."""
        with translate_faults("audit checkpoint"):
            line = build_checkpoint_line(checkpoint).decode("ascii")
            self._connection.execute(insert(AuditCheckpointRow).values(number=checkpoint.number, line=line))

    def find_last_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint. Raises `audit.broken` when it cannot be read."""
        statement = select(AuditCheckpointRow.line).order_by(AuditCheckpointRow.number.desc()).limit(1)
        with translate_faults("audit checkpoint"):
            line = self._connection.execute(statement).scalar()
        return None if line is None else parse_checkpoint_line(line.encode())

    def list_checkpoints(self, *, after: int = 0, limit: int = 100) -> Sequence[Checkpoint]:
        """Checkpoints with numbers above `after`, the oldest first. Raises `audit.broken`."""
        statement = select(AuditCheckpointRow.line).where(AuditCheckpointRow.number > after)
        with translate_faults("audit checkpoint"):
            lines = self._connection.execute(statement.order_by(AuditCheckpointRow.number).limit(limit)).scalars().all()
        return [parse_checkpoint_line(line.encode()) for line in lines]

    def _read_head(self, chain: str) -> ChainHead:
        statement = select(AuditEventRow.chain, AuditEventRow.sequence, AuditEventRow.digest)
        statement = statement.where(AuditEventRow.chain == chain).order_by(AuditEventRow.sequence.desc()).limit(1)
        with translate_faults(NOUN):
            row = self._connection.execute(statement).first()
        return begin_chain(chain) if row is None else ChainHead(*row)
