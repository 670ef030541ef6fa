import pytest

from kms.domain.audit import AuditEvent
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.quorums import QuorumService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock


def open_service() -> tuple[QuorumService, MemoryStore]:
    store = MemoryStore()
    return QuorumService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers()), store


def read_audit(store: MemoryStore) -> list[AuditEvent]:
    with store.reading() as reading:
        return list(reading.audit.list())


def test_a_quorum_is_the_tables_until_it_is_set() -> None:
    quorums, store = open_service()
    assert quorums.find(Action.KEYS_GENERATE) == 1
    quorums.set(Action.KEYS_GENERATE, 3, actor="person alice")
    quorums.set(Action.KEYS_GENERATE, 2, actor="person alice")
    assert quorums.find(Action.KEYS_GENERATE) == 2
    assert quorums.find(Action.KEYS_DEACTIVATE) == 1
    event = read_audit(store)[0]
    assert (event.action, event.subject, event.result, event.detail) == (
        "quorum.set",
        "keys.generate",
        "2",
        "3 before",
    )


@pytest.mark.parametrize(("action", "approvals"), [(Action.KEYS_GENERATE, 0), (Action.CARDS_IMPORT, 1)])
def test_a_quorum_below_the_table_is_refused(action: Action, approvals: int) -> None:
    quorums, store = open_service()
    with pytest.raises(KmsError) as error:
        quorums.set(action, approvals, actor="person alice")
    assert error.value.code is Code.INPUT_INVALID
    assert read_audit(store) == []
