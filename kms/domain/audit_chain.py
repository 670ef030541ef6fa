"""The audit log as hash chains, joined by signed checkpoints.

Rules: every process and thread that writes has a chain of its own, named `<node>/<writer>`, so that nobody waits for
anybody; a record's digest covers its event, its place in its chain and the digest of the record before it. A checkpoint
names the end of every chain that grew since the checkpoint before, covers that checkpoint, and is signed by the HSM's
audit key. Whoever takes over from that key is named in the last checkpoint that the old one signs. All encodings are
canonical JSON (sorted keys, no white space, ASCII): one value has one encoding.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from kms.domain.audit import AuditEvent
from kms.errors import Code, KmsError

DIGEST_LENGTH = 32  # SHA-256
CHECKPOINT_TYPE = "kms-audit-checkpoint"  # what is signed can never be taken for anything else that an HSM key signs
VERSION = 1
NO_CHECKPOINT = bytes(DIGEST_LENGTH)
_TIME_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class ChainHead:
    """The end of a chain. `sequence`: of its last record, 0 for none. `digest`: that record's, 32 bytes."""

    chain: str
    sequence: int
    digest: bytes


@dataclass(frozen=True)
class AuditRecord:
    """An event in its place: the `sequence`-th of `chain`, from 1. `digest`: 32 bytes."""

    chain: str
    sequence: int
    event: AuditEvent
    digest: bytes

    @property
    def head(self) -> ChainHead:
        """The end of the chain when this is its last record."""
        return ChainHead(self.chain, self.sequence, self.digest)


@dataclass(frozen=True)
class Checkpoint:
    """The state of the whole log at one moment. `number`: from 1. `previous`: the digest of the one before.

    `heads`: of the chains that grew since then, by name. `key`: SHA-256 of the SubjectPublicKeyInfo that verifies
    `signature` (r | s, 64 bytes). `next_key`: the SubjectPublicKeyInfo that verifies from the next one on, when it
    changes, else empty.
    """

    platform: str
    number: int
    previous: bytes
    at: datetime
    node: str
    heads: tuple[ChainHead, ...]
    key: bytes
    next_key: bytes = b""
    signature: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> bytes:
        """What the next checkpoint and the anchors outside name it by: SHA-256 over body and signature."""
        return hashlib.sha256(build_checkpoint_body(self) + self.signature).digest()


def begin_chain(chain: str) -> ChainHead:
    """The end of a chain without records: its digest binds the chain's name."""
    return ChainHead(chain, 0, hashlib.sha256(f"kms-audit-chain {VERSION} {chain}".encode()).digest())


def build_record(head: ChainHead, event: AuditEvent) -> AuditRecord:
    """Put an event at the end of a chain."""
    digest = compute_digest(head, event)
    return AuditRecord(head.chain, head.sequence + 1, event, digest)


def compute_digest(head: ChainHead, event: AuditEvent) -> bytes:
    """SHA-256 over the event, its place and the digest of the record before it."""
    place = {"chain": head.chain, "previous": head.digest.hex(), "sequence": head.sequence + 1, "version": VERSION}
    return hashlib.sha256(_encode({**place, **_event_fields(event)})).digest()


def build_record_line(record: AuditRecord) -> bytes:
    """A record as one line of an exported log, without the line end."""
    place = {"chain": record.chain, "digest": record.digest.hex(), "sequence": record.sequence}
    return _encode({**place, **_event_fields(record.event)})


def build_checkpoint_body(checkpoint: Checkpoint) -> bytes:
    """The bytes that are signed."""
    return _encode(_checkpoint_fields(checkpoint))


def build_checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as one line of an exported log, without the line end."""
    return _encode({**_checkpoint_fields(checkpoint), "signature": checkpoint.signature.hex()})


def parse_log_line(line: bytes) -> AuditRecord | Checkpoint:
    """Read what `build_record_line` or `build_checkpoint_line` wrote, and nothing else. Raises `audit.broken`."""
    fields = _decode(line)
    is_checkpoint = fields.get("type") == CHECKPOINT_TYPE
    try:
        item = _parse_checkpoint(fields) if is_checkpoint else _parse_record(fields)
    except (KeyError, ValueError, TypeError):
        _refuse("a line is neither a record nor a checkpoint")
    rebuilt = build_checkpoint_line(item) if isinstance(item, Checkpoint) else build_record_line(item)
    if rebuilt != line:
        _refuse("a line is not written as this program writes it")
    return item


def parse_checkpoint_line(line: bytes) -> Checkpoint:
    """Read a stored checkpoint. Raises `audit.broken`."""
    item = parse_log_line(line)
    if not isinstance(item, Checkpoint):
        _refuse("a record stands where a checkpoint should")
    return item


def _parse_record(fields: Mapping[str, object]) -> AuditRecord:
    event = AuditEvent(**{name: _text(fields, name) for name in _EVENT_TEXTS}, at=_time(fields))
    return AuditRecord(_text(fields, "chain"), _number(fields, "sequence"), event, _bytes(fields, "digest"))


def _parse_checkpoint(fields: Mapping[str, object]) -> Checkpoint:
    return Checkpoint(
        platform=_text(fields, "platform"),
        number=_number(fields, "number"),
        previous=_bytes(fields, "previous"),
        at=_time(fields),
        node=_text(fields, "node"),
        heads=_heads(fields),
        key=_bytes(fields, "key"),
        next_key=_bytes(fields, "next_key"),
        signature=_bytes(fields, "signature"),
    )


_EVENT_TEXTS = ("id", "actor", "action", "subject", "result", "kcv", "detail", "reason", "request_id")


def _event_fields(event: AuditEvent) -> Mapping[str, object]:
    return {**{name: getattr(event, name) for name in _EVENT_TEXTS}, "at": build_time(event.at)}


def _checkpoint_fields(checkpoint: Checkpoint) -> Mapping[str, object]:
    return {
        "at": build_time(checkpoint.at),
        "heads": [[head.chain, head.sequence, head.digest.hex()] for head in checkpoint.heads],
        "key": checkpoint.key.hex(),
        "next_key": checkpoint.next_key.hex(),
        "node": checkpoint.node,
        "number": checkpoint.number,
        "platform": checkpoint.platform,
        "previous": checkpoint.previous.hex(),
        "type": CHECKPOINT_TYPE,
        "version": VERSION,
    }


def build_time(at: datetime) -> str:
    """UTC with microseconds, as the database keeps it."""
    return at.astimezone(UTC).strftime(_TIME_FORM)


def _encode(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _decode(line: bytes) -> Mapping[str, object]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        _refuse("a line is no JSON")
    if not isinstance(fields, dict):
        _refuse("a line is no JSON object")
    return fields


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int):
        raise TypeError
    return value


def _bytes(fields: Mapping[str, object], name: str) -> bytes:
    return bytes.fromhex(_text(fields, name))


def _heads(fields: Mapping[str, object]) -> tuple[ChainHead, ...]:
    heads = fields["heads"]
    if not isinstance(heads, list):
        raise TypeError
    return tuple(ChainHead(str(chain), int(sequence), bytes.fromhex(digest)) for chain, sequence, digest in heads)


def _time(fields: Mapping[str, object]) -> datetime:
    return datetime.strptime(_text(fields, "at"), _TIME_FORM).replace(tzinfo=UTC)


def _refuse(what: str) -> NoReturn:
    raise KmsError(Code.AUDIT_BROKEN, f"The audit log was changed: {what}.")
