from kms.domain.people import Role
from kms.domain.permissions import Action
from kms.service.audit_reading import record_audit_reading
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import build_principal
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock


def test_who_read_what_and_when_is_on_record() -> None:
    store = MemoryStore()
    reader = build_principal("ada", Role.AUDITOR)
    record_audit_reading(
        store, TickingClock(), CountingIdentifiers(), reader=reader, action=Action.AUDIT_EXPORT, what="the whole log"
    )
    with store.reading() as reading:
        (event,) = reading.audit.list()
    assert (event.actor, event.action, event.subject, event.detail) == (
        reader.actor,
        "audit.export",
        "audit log",
        "the whole log",
    )
    assert event.at >= NOW
