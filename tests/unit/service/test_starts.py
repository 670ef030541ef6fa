from kms.service.starts import record_start
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock


def test_a_start_tells_node_program_and_configuration() -> None:
    store = MemoryStore()
    record_start(store, TickingClock(), CountingIdentifiers(), program="scheduler", node="a", configuration="AB" * 32)
    with store.transaction() as tx:
        (event,) = tx.audit.list()
    assert (event.at, event.actor, event.action, event.subject) == (NOW, "node a", "platform.start", "scheduler")
    assert event.detail == f"configuration SHA-256 {'AB' * 32}"
