"""How many others approve an action at this site.

Rules: a quorum never falls below the table's; it is changed under the quorum that it changes.
"""

from kms.domain.audit import AuditEvent
from kms.domain.permissions import Action
from kms.domain.requests import Quorum, check_quorum, compute_quorum
from kms.service.ports import Clock, Identifiers, Store
from kms.service.recovery import check_normal


class QuorumService:
    """The use cases of quorums."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers

    def find(self, action: Action) -> int:
        """Approvals by others that an action takes now."""
        with self._store.reading() as reading:
            return compute_quorum(action, reading.requests.list_quorums())

    def set(self, action: Action, approvals: int, *, actor: str) -> Quorum:
        """Change it. Raises `input.invalid` for a quorum that the table does not allow, `platform.recovery`."""
        check_quorum(action, approvals)
        quorum = Quorum(action, approvals, self._clock.now())
        with self._store.transaction() as transaction:
            check_normal(transaction, "Changing quorums")
            before = compute_quorum(action, transaction.requests.list_quorums())
            transaction.requests.set_quorum(quorum)
            event = AuditEvent(
                self._identifiers.new(),
                quorum.set_at,
                actor,
                "quorum.set",
                str(action),
                f"{approvals}",
                detail=f"{before} before",
            )
            transaction.audit.append(event)
        return quorum
