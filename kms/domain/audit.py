"""Audit events: who did what to which key, when, from where, why, with what result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kms.card.keys import KcvMethod


@dataclass(frozen=True)
class AuditEvent:
    """One audit event. `subject`: what it was done to (`key-set 0199…`); `kcv`: `<method>:<hex>` or empty.

    `reason`: why, in the words of who asked (a ticket). `request_id`: the approved request that it carried out, else
    empty; the approvals stand with the request.
    """

    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    result: str
    kcv: str = ""
    detail: str = ""
    reason: str = ""
    request_id: str = ""


def build_kcv_text(method: KcvMethod, kcvs: Sequence[bytes]) -> str:
    """Write check values as audit events name them: `<method>:<hex>[,<hex>...]`; empty where there are none."""
    return f"{method}:{','.join(kcv.hex().upper() for kcv in kcvs)}" if kcvs else ""
