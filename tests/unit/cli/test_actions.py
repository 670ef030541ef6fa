"""`perform` without a login; with one it is in tests/unit/console/test_matrix.py."""

import click
import pytest

from kms.cli.actions import build_development_login, perform
from kms.cli.context import Invocation, get_actor
from kms.config import PlatformMode
from kms.domain.audit import AuditEvent
from kms.domain.people import Role
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.terminals import TerminalService
from tests.fakes.lab_platform import build_lab_invocation
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock

GIVEN = {"name": "counter-1", "fingerprint": b"\xab" * 32}


def open_terminals(mode: PlatformMode) -> tuple[Invocation, MemoryStore]:
    store = MemoryStore()
    terminals = TerminalService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers())
    return build_lab_invocation(mode=mode, store=store, terminals=terminals), store


def read_audit(store: MemoryStore) -> list[AuditEvent]:
    with store.reading() as reading:
        return list(reading.audit.list())


def build_context(invocation: Invocation) -> click.Context:
    return click.Context(click.Command("test"), obj=invocation)


def test_the_lab_acts_as_its_user_and_says_so() -> None:
    invocation, store = open_terminals(PlatformMode.LAB)
    result = perform(build_context(invocation), Action.TERMINALS_ENROL, GIVEN)
    assert (result["name"], result["fingerprint"], result["state"]) == ("counter-1", "AB" * 32, "ENROLLED")
    (event,) = read_audit(store)
    assert event.actor == f"{get_actor()} (development login)"


def test_production_changes_nothing_without_a_login() -> None:
    invocation, store = open_terminals(PlatformMode.PRODUCTION)
    with pytest.raises(KmsError) as error:
        perform(build_context(invocation), Action.TERMINALS_ENROL, GIVEN)
    assert error.value.code is Code.LOGIN_NEEDED
    assert read_audit(store) == []


def test_a_named_console_is_never_passed_by() -> None:
    invocation, store = open_terminals(PlatformMode.LAB)
    invocation.server = "https://console.example"
    with pytest.raises(KmsError) as error:
        perform(build_context(invocation), Action.TERMINALS_ENROL, GIVEN)
    assert error.value.code is Code.LOGIN_NEEDED
    assert read_audit(store) == []


def test_what_the_action_refuses_is_refused() -> None:
    invocation, _store = open_terminals(PlatformMode.LAB)
    context = build_context(invocation)
    perform(context, Action.TERMINALS_ENROL, GIVEN)
    with pytest.raises(KmsError) as error:
        perform(context, Action.TERMINALS_ENROL, GIVEN)
    assert error.value.code is Code.CONFLICT


def test_the_development_login_is_no_person() -> None:
    login = build_development_login()
    assert login.development
    assert login.roles == frozenset(Role)
    assert login.second_factor is None
