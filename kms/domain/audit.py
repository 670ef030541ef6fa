"""Audit events: who did what to which key, when, from where, why, with what result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kms.card.keys import KcvMethod


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


def build_kcv_text(method: KcvMethod, kcvs: Sequence[bytes]) -> str:
    """Write check values as audit records name them: `<method>:<hex>[,<hex>...]`; empty where there are none."""
    return f"{method}:{','.join(kcv.hex().upper() for kcv in kcvs)}" if kcvs else ""
