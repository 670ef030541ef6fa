"""The audit log as a whole: checkpoints, anchors outside, export and verification.

Rules: a checkpoint is made only over what is committed, by whichever node comes first; the other's is refused by its
number. Anchors are written after the checkpoint is durable. The audit key is made with the first checkpoint; when it is
replaced, the old key signs who comes after it, and that signature, not the records, says which key is due.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kms.domain.audit_chain import (
    NO_CHECKPOINT,
    AuditRecord,
    ChainHead,
    Checkpoint,
    build_checkpoint_body,
    build_checkpoint_line,
    build_record_line,
)
from kms.domain.audit_check import MAX_LAG, Anchor, LogCheck, LogReport
from kms.domain.audit_export import build_header_line, check_fingerprint
from kms.domain.keys import KeyState, PlatformKey, PlatformKeyPurpose
from kms.errors import Code, KmsError
from kms.service.platform_keys import ALL, PlatformKeyService
from kms.service.ports import Clock, Store, Transaction

PAGE = 1000


class AnchorWriter(Protocol):
    """A place outside the database that remembers checkpoints."""

    def write(self, platform: str, anchor: Anchor) -> None:
        """Write an anchor, unless it is the last one written. Raises `audit.anchor`."""
        ...


@dataclass(frozen=True)
class Anchored:
    """The newest checkpoint, anchored outside. `made`: it is new. `chains`: how many grew since the one before."""

    anchor: Anchor
    made: bool
    chains: int


class AuditLogService:
    """The use cases of the audit log. `platform`: whose it is; `node`: this machine's name."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        platform_keys: PlatformKeyService,
        anchors: Sequence[AnchorWriter],
        platform: str,
        node: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._platform_keys = platform_keys
        self._anchors = anchors
        self._platform = platform
        self._node = node

    def checkpoint(self) -> Anchored:
        """Sign what was recorded since the last checkpoint, and write the newest checkpoint's digest outside.

        Raises `hsm.*`, `key.*`, `database.unavailable`, `audit.broken`, `audit.anchor`; `input.conflict` when another
        node was faster.
        """
        return self._checkpoint(b"")

    def replace_key(self, *, actor: str) -> PlatformKey:
        """Make a new audit key and let the old one name it; a run that was cut off is taken up again."""
        successor = self._platform_keys.make_successor(PlatformKeyPurpose.AUDIT, actor=actor)
        self._checkpoint(successor.public_key_der)
        return self._platform_keys.activate_successor(successor, actor=actor)

    def get_first_key(self) -> bytes:
        """SubjectPublicKeyInfo of the first checkpoint's key: its fingerprint is what an auditor knows from outside.

        Raises `key.missing` before the first checkpoint.
        """
        with self._store.reading() as reading:
            first = reading.audit.list_checkpoints(limit=1)
            keys = reading.platform_keys.list(limit=ALL)
        named = first[0].key if first else None
        found = next((item.public_key_der for item in keys if _name_key(item.public_key_der) == named), None)
        if found is None:
            raise KmsError(Code.KEY_MISSING, "The audit log has no checkpoint yet: `kms audit checkpoint` makes one.")
        return found

    def verify(self, anchors: Sequence[Anchor] = (), *, key_fingerprint: str = "") -> LogReport:
        """Check the stored log under its first key, of this fingerprint. Raises `audit.broken`, `key.missing`."""
        key = self.get_first_key()
        check_fingerprint(key, key_fingerprint)
        check = LogCheck(self._platform, key, anchors)
        for item in self._read():
            if isinstance(item, Checkpoint):
                check.take_checkpoint(item)
            else:
                check.take_record(item)
        return check.finish()

    def export(self) -> Iterator[bytes]:
        """The log up to a checkpoint that is made now, as lines of a file, without line ends."""
        end = self.checkpoint().anchor.number
        yield build_header_line(self._platform, self.get_first_key())
        for item in self._read():
            yield build_checkpoint_line(item) if isinstance(item, Checkpoint) else build_record_line(item)
            if isinstance(item, Checkpoint) and item.number == end:
                return

    def _checkpoint(self, next_key: bytes) -> Anchored:
        with self._store.reading() as reading:
            last = reading.audit.find_last_checkpoint()
        key = self._get_due_key(last)
        with self._store.reading() as reading:
            heads = _list_grown(reading, last)
        made = bool(heads) or last is None or (bool(next_key) and last.next_key != next_key)
        if made or last is None:
            checkpoint = Checkpoint(
                platform=self._platform,
                number=last.number + 1 if last is not None else 1,
                previous=last.digest if last is not None else NO_CHECKPOINT,
                at=self._clock.now(),
                node=self._node,
                heads=heads,
                key=_name_key(key.public_key_der),
                next_key=next_key,
            )
            signature = self._platform_keys.sign_with(key, build_checkpoint_body(checkpoint))
            last = replace(checkpoint, signature=signature)
            with self._store.transaction() as transaction:
                transaction.audit.add_checkpoint(last)
        anchor = Anchor(last.number, last.digest, self._clock.now())
        for writer in self._anchors:
            writer.write(self._platform, anchor)
        return Anchored(anchor, made, len(heads))

    def _get_due_key(self, last: Checkpoint | None) -> PlatformKey:
        """The key that the last checkpoint says is due; a successor that it names is activated now at the latest."""
        active = self._platform_keys.ensure(PlatformKeyPurpose.AUDIT, actor="system")
        if last is None:
            return active
        due = _name_key(last.next_key) if last.next_key else last.key
        if _name_key(active.public_key_der) == due:
            return active
        with self._store.reading() as reading:
            keys = reading.platform_keys.list(limit=ALL)
        found = next((item for item in keys if item.public_key_der and _name_key(item.public_key_der) == due), None)
        if found is None or found.state is not KeyState.PRE_ACTIVATION:
            raise KmsError(
                Code.AUDIT_BROKEN, "The last checkpoint names an audit key that is not this platform's present one."
            )
        return self._platform_keys.activate_successor(found, actor="system")

    def _read(self) -> Iterator[AuditRecord | Checkpoint]:
        """The whole log in its one order; records after the last checkpoint come last."""
        covered: dict[str, int] = {}
        number = 0
        while True:
            with self._store.reading() as reading:
                checkpoints = reading.audit.list_checkpoints(after=number, limit=PAGE)
            for checkpoint in checkpoints:
                yield from self._read_chains(checkpoint.heads, covered)
                yield checkpoint
            if not checkpoints or checkpoints[-1].number <= number:
                break
            number = checkpoints[-1].number
        with self._store.reading() as reading:
            ends = reading.audit.list_heads()
        yield from self._read_chains([end for end in ends if end.sequence > covered.get(end.chain, 0)], covered)

    def _read_chains(self, heads: Sequence[ChainHead], covered: dict[str, int]) -> Iterator[AuditRecord]:
        for head in heads:
            after = covered.get(head.chain, 0)
            covered[head.chain] = head.sequence
            more = True
            while more:
                with self._store.reading() as reading:
                    records = reading.audit.list_records(head.chain, after=after, up_to=head.sequence, limit=PAGE)
                yield from records
                more = len(records) == PAGE
                after = records[-1].sequence if records else after


def _list_grown(reading: Transaction, last: Checkpoint | None) -> tuple[ChainHead, ...]:
    """The chains that grew since the last checkpoint, by name.

    A record is younger than the checkpoint that covers it, give or take `MAX_LAG`: so only chains with young records
    are looked at, and whether their ends are covered already stands in the checkpoints of the same time.
    """
    if last is None:
        return tuple(reading.audit.list_heads())
    covered: set[tuple[str, int]] = set()
    number, oldest = last.number, last.at
    while number > 0 and oldest >= last.at - 2 * MAX_LAG:
        number = max(0, number - PAGE)
        page = reading.audit.list_checkpoints(after=number, limit=PAGE)
        covered.update((head.chain, head.sequence) for checkpoint in page for head in checkpoint.heads)
        oldest = page[0].at
    heads = reading.audit.list_heads(last.at - MAX_LAG)
    return tuple(head for head in heads if (head.chain, head.sequence) not in covered)


def _name_key(public_key_der: bytes) -> bytes:
    return hashlib.sha256(public_key_der).digest()
