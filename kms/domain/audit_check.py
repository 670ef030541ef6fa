"""Checking the audit log, with public data only: chains, checkpoints, signatures, anchors.

Rules: the log is read in its one order: before each checkpoint the records that it covers, by chain and sequence.
Whatever does not fit raises `audit.broken` and says where. Records after the last checkpoint are vouched for by no
signature: a caller that wants none of them says so. What was cut off after the last anchor that is known outside cannot
be told from what was never written.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

from kms.domain.audit_chain import (
    NO_CHECKPOINT,
    AuditRecord,
    ChainHead,
    Checkpoint,
    begin_chain,
    build_checkpoint_body,
    compute_digest,
)
from kms.domain.signatures import check_signature
from kms.errors import Code, KmsError

MAX_LAG = timedelta(minutes=30)
"""A record reaches its checkpoint well within this: transactions are short, and nodes' clocks differ by less."""


@dataclass(frozen=True)
class Anchor:
    """What was written outside the database about a checkpoint. `digest`: 32 bytes."""

    number: int
    digest: bytes
    at: datetime


@dataclass(frozen=True)
class LogReport:
    """What a check found whole. `uncovered`: records after the last checkpoint. `key`: verifies the next one (DER)."""

    platform: str
    records: int
    checkpoints: int
    uncovered: int
    last_at: datetime | None
    last_digest: bytes
    key: bytes


@dataclass
class LogCheck:
    """A check in progress. `platform`: whose log it is; `key`: SubjectPublicKeyInfo of the first checkpoint's key.

    `anchors`: what stands outside, in any order.
    """

    platform: str
    key: bytes
    anchors: Collection[Anchor] = ()
    heads: dict[str, ChainHead] = field(default_factory=dict)
    _touched: dict[str, ChainHead] = field(default_factory=dict)
    _last_place: tuple[str, int] = ("", 0)
    _oldest: datetime | None = None
    _records: int = 0
    _uncovered: int = 0
    _number: int = 0
    _digest: bytes = NO_CHECKPOINT
    _at: datetime | None = None
    _anchored: dict[int, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for anchor in self.anchors:
            self._anchored.setdefault(anchor.number, set()).add(anchor.digest)

    def take_record(self, record: AuditRecord) -> None:
        """Check the next record. Raises `audit.broken`."""
        where = f"record {record.sequence} of chain {record.chain}"
        place = (record.chain, record.sequence)
        if place <= self._last_place:
            _refuse(f"{where} is out of order")
        head = self.heads.get(record.chain) or begin_chain(record.chain)
        if record.sequence != head.sequence + 1:
            _refuse(f"{where} follows record {head.sequence}: records are missing or were put in")
        if compute_digest(head, record.event) != record.digest:
            _refuse(f"{where} does not have its digest: it or the one before it was changed")
        self._last_place = place
        self.heads[record.chain] = self._touched[record.chain] = record.head
        self._oldest = min(self._oldest or record.event.at, record.event.at)
        self._records += 1
        self._uncovered += 1

    def take_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Check the next checkpoint, which covers the records since the one before. Raises `audit.broken`."""
        where = f"checkpoint {checkpoint.number}"
        if checkpoint.platform != self.platform:
            _refuse(f"{where} is of another platform's log")
        if checkpoint.number != self._number + 1 or checkpoint.previous != self._digest:
            _refuse(f"{where} does not follow checkpoint {self._number}")
        if checkpoint.key != hashlib.sha256(self.key).digest():
            _refuse(f"{where} names another key than the one that is due")
        try:
            check_signature(self.key, build_checkpoint_body(checkpoint), checkpoint.signature)
        except KmsError:
            _refuse(f"{where} is not signed by the platform's audit key")
        if self._at is not None and checkpoint.at < self._at:
            _refuse(f"{where} is older than the one before it")
        if checkpoint.heads != tuple(self._touched[name] for name in sorted(self._touched)):
            _refuse(f"{where} covers other records than those before it: records are missing or were put in")
        if self._anchored.pop(checkpoint.number, {checkpoint.digest}) != {checkpoint.digest}:
            _refuse(f"{where} is not the one that is anchored outside")
        self._number, self._digest, self._at = checkpoint.number, checkpoint.digest, checkpoint.at
        self.key = checkpoint.next_key or self.key
        self._touched, self._last_place, self._oldest, self._uncovered = {}, ("", 0), None, 0

    def finish(self, *, covered: bool = False) -> LogReport:
        """End the check. `covered`: no record may stand after the last checkpoint. Raises `audit.broken`."""
        if self._uncovered and covered:
            _refuse(f"{self._uncovered} records stand after the last checkpoint: put in, or the end was cut off")
        if self._oldest is not None and self._at is not None and self._oldest < self._at - MAX_LAG:
            _refuse("a record that no checkpoint covers is older than the last checkpoint: it was put in")
        if self._anchored:
            _refuse(f"checkpoint {max(self._anchored)} is anchored outside and missing here: the end was cut off")
        return LogReport(self.platform, self._records, self._number, self._uncovered, self._at, self._digest, self.key)


def _refuse(what: str) -> NoReturn:
    raise KmsError(Code.AUDIT_BROKEN, f"The audit log was changed: {what}.")
