"""Audit events: who did what to which key, when, from where, why, with what result."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class AuditEvent:
    """One audit record. `subject`: what it was done to (`key-set 0199…`); `kcv`: `<method>:<hex>` or empty."""

    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    result: str
    kcv: str = ""
    detail: str = ""
