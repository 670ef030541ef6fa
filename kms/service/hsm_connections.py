"""What is on record of a process's connections to its HSM: the first, and each after the token went away (rule R38).

Rules: asked now and then by whoever runs on; a connection is recorded late rather than twice, and one that could not be
recorded is recorded the next time.
"""

from dataclasses import dataclass

from kms.domain.audit import AuditEvent
from kms.service.ports import Clock, Identifiers, Store


@dataclass
class HsmConnections:
    """The recorder of one process. `node`: this machine's name. `recorded`: the newest connection on record."""

    store: Store
    clock: Clock
    identifiers: Identifiers
    node: str
    recorded: int = 0

    def record(self, connections: int) -> None:
        """Record that so many connections were opened by now. Raises `database.unavailable`."""
        if connections <= self.recorded:
            return
        event = AuditEvent(
            id=self.identifiers.new(),
            at=self.clock.now(),
            actor=f"node {self.node}",
            action="hsm.connect" if connections == 1 else "hsm.reconnect",
            subject="hsm",
            result="connected",
            detail=f"connection {connections} of this process",
        )
        with self.store.transaction() as tx:
            tx.audit.append(event)
        self.recorded = connections
