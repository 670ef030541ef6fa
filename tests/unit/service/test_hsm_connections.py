"""Each connection to the HSM is on record once."""

import pytest

from kms.errors import Code, KmsError
from kms.service.hsm_connections import HsmConnections
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock


def list_actions(store: MemoryStore) -> list[str]:
    with store.reading() as reading:
        return [event.action for event in reversed(reading.audit.list())]


def test_the_first_connection_and_each_new_one_are_recorded_once() -> None:
    store = MemoryStore()
    connections = HsmConnections(store, TickingClock(), CountingIdentifiers(), "node-1")
    for opened in (0, 1, 1, 3, 3):
        connections.record(opened)
    assert list_actions(store) == ["hsm.connect", "hsm.reconnect"]


def test_what_could_not_be_recorded_is_recorded_the_next_time() -> None:
    store = MemoryStore()
    connections = HsmConnections(store, TickingClock(), CountingIdentifiers(), "node-1")
    store.fail_with = KmsError(Code.DATABASE_UNAVAILABLE, "away")
    with pytest.raises(KmsError):
        connections.record(1)
    store.fail_with = None
    connections.record(1)
    assert list_actions(store) == ["hsm.connect"]
