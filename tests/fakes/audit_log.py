"""An audit log with several writers and a software key, built step by step from the format's description alone."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.domain.audit import AuditEvent
from kms.domain.audit_chain import (
    NO_CHECKPOINT,
    ChainHead,
    Checkpoint,
    begin_chain,
    build_checkpoint_body,
    build_checkpoint_line,
    build_record,
    build_record_line,
)
from kms.domain.audit_export import build_header_line

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class LogWriter:
    """Writes an exported log. `lines`: header first. `checkpoints`: all that were made."""

    platform: str = "bank"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    lines: list[bytes] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    heads: dict[str, ChainHead] = field(default_factory=dict)
    pending: dict[str, list[bytes]] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.first_key = self.public_key
        self.lines.append(build_header_line(self.platform, self.public_key))

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def write(self, chain: str, **changes: str) -> None:
        self.count += 1
        at = START + timedelta(seconds=self.count)
        texts = {"actor": "officer alice", "action": "key.generate", "subject": f"key {self.count}", "result": "done"}
        event = AuditEvent(id=f"id-{self.count:04}", at=at, **{**texts, **changes})
        record = build_record(self.heads.get(chain) or begin_chain(chain), event)
        self.heads[chain] = record.head
        self.pending.setdefault(chain, []).append(build_record_line(record))

    def sign(self, next_key: ec.EllipticCurvePrivateKey | None = None) -> Checkpoint:
        self.count += 1
        for chain in sorted(self.pending):
            self.lines.extend(self.pending[chain])
        unsigned = Checkpoint(
            platform=self.platform,
            number=len(self.checkpoints) + 1,
            previous=self.checkpoints[-1].digest if self.checkpoints else NO_CHECKPOINT,
            at=START + timedelta(seconds=self.count),
            node="node-1",
            heads=tuple(self.heads[chain] for chain in sorted(self.pending)),
            key=hashlib.sha256(self.public_key).digest(),
            next_key=b""
            if next_key is None
            else next_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )
        numbers = decode_dss_signature(self.key.sign(build_checkpoint_body(unsigned), ec.ECDSA(hashes.SHA256())))
        signed = Checkpoint(**{**vars(unsigned), "signature": b"".join(n.to_bytes(32, "big") for n in numbers)})
        self.checkpoints.append(signed)
        self.lines.append(build_checkpoint_line(signed))
        self.pending = {}
        self.key = next_key or self.key
        return signed


def build_log(checkpoints: int = 3) -> LogWriter:
    """A log of three writers; the audit key changes in the middle."""
    log = LogWriter()
    for number in range(checkpoints):
        for chain in ("node-1/a", "node-1/b", "node-2/a"):
            for _ in range(2):
                log.write(chain, detail=f'text with "quotes" and ünïcode, round {number}')
        log.sign(ec.generate_private_key(ec.SECP256R1()) if number == 1 else None)
    return log
