from dataclasses import replace

import pytest

from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.service.terminals import TerminalService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock

FINGERPRINT = bytes(range(32))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def service(store: MemoryStore) -> TerminalService:
    return TerminalService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers())


def test_an_enrolled_terminal_is_served(service: TerminalService) -> None:
    enrolled = service.enrol("counter 1", FINGERPRINT, actor="cli:operator")
    assert (enrolled.name, enrolled.state, enrolled.enrolled_at) == ("counter 1", TerminalState.ENROLLED, NOW)
    assert service.authenticate(FINGERPRINT) == enrolled


def test_another_certificate_is_unknown(service: TerminalService) -> None:
    service.enrol("counter 1", FINGERPRINT, actor="cli:operator")
    with pytest.raises(KmsError) as error:
        service.authenticate(bytes(32))
    assert error.value.code is Code.TERMINAL_UNKNOWN


def test_a_suspended_terminal_is_refused_until_it_is_resumed(service: TerminalService) -> None:
    enrolled = service.enrol("counter 1", FINGERPRINT, actor="cli:operator")
    suspended = service.suspend("counter 1", reason="stolen?", actor="cli:operator")
    assert (suspended.state, suspended.reason) == (TerminalState.SUSPENDED, "stolen?")
    with pytest.raises(KmsError) as error:
        service.authenticate(FINGERPRINT)
    assert error.value.code is Code.TERMINAL_REFUSED
    resumed = service.resume("counter 1", actor="cli:operator")
    assert resumed == replace(enrolled, trusted_since=NOW)
    assert service.authenticate(FINGERPRINT) == resumed
    with pytest.raises(KmsError, match="ENROLLED already"):
        service.resume("counter 1", actor="cli:operator")


def test_revoking_is_final(service: TerminalService) -> None:
    service.enrol("counter 1", FINGERPRINT, actor="cli:operator")
    service.revoke("counter 1", reason="sold", actor="cli:operator")
    with pytest.raises(KmsError) as error:
        service.authenticate(FINGERPRINT)
    assert error.value.code is Code.TERMINAL_REFUSED
    with pytest.raises(KmsError) as error:
        service.resume("counter 1", actor="cli:operator")
    assert error.value.code is Code.CONFLICT
    with pytest.raises(KmsError) as error:
        service.enrol("counter 2", FINGERPRINT, actor="cli:operator")
    assert error.value.code is Code.CONFLICT


def test_names_and_certificates_are_taken_once(service: TerminalService) -> None:
    service.enrol("counter 1", FINGERPRINT, actor="cli:operator")
    for name, fingerprint in (("counter 1", bytes(32)), ("counter 2", FINGERPRINT)):
        with pytest.raises(KmsError) as error:
            service.enrol(name, fingerprint, actor="cli:operator")
        assert error.value.code is Code.CONFLICT


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("", FINGERPRINT),
        (" x", FINGERPRINT),
        ("a\nb", FINGERPRINT),
        ("x" * 65, FINGERPRINT),
        ("peer bikes", FINGERPRINT),
        ("x", bytes(20)),
    ],
    ids=["no name", "blank at its end", "line break", "long name", "a peer's", "SHA-1"],
)
def test_what_is_no_terminal_is_refused(service: TerminalService, name: str, fingerprint: bytes) -> None:
    with pytest.raises(KmsError) as error:
        service.enrol(name, fingerprint, actor="cli:operator")
    assert error.value.code is Code.INPUT_INVALID


def test_a_terminal_that_does_not_exist_cannot_change(service: TerminalService) -> None:
    with pytest.raises(KmsError) as error:
        service.suspend("nowhere", reason="?", actor="cli:operator")
    assert error.value.code is Code.NOT_FOUND


def test_every_change_is_in_the_audit_log(service: TerminalService, store: MemoryStore) -> None:
    terminal = service.enrol("counter 1", FINGERPRINT, actor="cli:ann")
    service.suspend("counter 1", reason="stolen?", actor="cli:bob")
    service.resume("counter 1", actor="cli:ann")
    service.revoke("counter 1", reason="sold", actor="cli:bob")
    with store.transaction() as transaction:
        events = transaction.audit.list()
    assert [(event.action, event.actor, event.detail) for event in events] == [
        ("terminal.revoke", "cli:bob", "counter 1: sold"),
        ("terminal.resume", "cli:ann", "counter 1"),
        ("terminal.suspend", "cli:bob", "counter 1: stolen?"),
        ("terminal.enrol", "cli:ann", "counter 1"),
    ]
    assert {event.subject for event in events} == {f"terminal {terminal.id}"}
