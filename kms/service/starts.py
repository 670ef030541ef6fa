"""What is on record of each start of a program that runs on: who, where, and under which configuration.

Rules: the digest alone tells that a configuration changed; the files themselves are for whoever keeps them under
version control. A start that cannot be recorded is none.
"""

from kms.domain.audit import AuditEvent
from kms.service.ports import Clock, Identifiers, Store


def record_start(
    store: Store, clock: Clock, identifiers: Identifiers, *, program: str, node: str, configuration: str
) -> None:
    """Record that a program starts on a node. `configuration`: the SHA-256 of its configuration, in hex.

    Raises `database.unavailable`.
    """
    event = AuditEvent(
        id=identifiers.new(),
        at=clock.now(),
        actor=f"node {node}",
        action="platform.start",
        subject=program,
        result="started",
        detail=f"configuration SHA-256 {configuration}",
    )
    with store.transaction() as tx:
        tx.audit.append(event)
