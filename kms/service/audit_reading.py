"""What is on record of each reading of the audit log itself: who looked, and at what (R38).

Rules: recorded before anything is shown; what cannot be recorded is not read.
"""

from kms.domain.audit import AuditEvent
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.service.ports import Clock, Identifiers, Store


def record_audit_reading(
    store: Store, clock: Clock, identifiers: Identifiers, *, reader: Principal, action: Action, what: str
) -> None:
    """Record that somebody reads or exports the log. `what`: which part of it. Raises `database.unavailable`."""
    event = AuditEvent(
        id=identifiers.new(),
        at=clock.now(),
        actor=reader.actor,
        action=str(action),
        subject="audit log",
        result="done",
        detail=what,
    )
    with store.transaction() as tx:
        tx.audit.append(event)
