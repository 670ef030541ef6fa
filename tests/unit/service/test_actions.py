"""Submitting actions: permission first, then at once or a request; refusals are recorded."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.domain.recovery import PlatformCondition, PlatformState
from kms.domain.requests import Quorum, RequestState, check_unchanged
from kms.errors import Code, KmsError
from kms.service.actions import ActionDefinition, ActionRegistry, ActionService, Parameters, Performer, Submitted
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import ADMIN, ALICE, AUDITOR, DEVELOPER, OPERATOR
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock


class Naming(Parameters):
    name: str
    length: Literal[16, 32] = 32
    value: bytes = b""
    many: bool = False


class Desk:
    """An action service over two actions: one that needs approval (keys.generate), one that does not."""

    def __init__(self, *, lab: bool = True) -> None:
        self.store = MemoryStore()
        self.done: list[tuple[str, str]] = []
        self.registry = ActionRegistry(self.define(Action.KEYS_GENERATE), self.define(Action.UPDATES_FORCE))
        self.actions = ActionService(
            store=self.store,
            clock=TickingClock(),
            identifiers=CountingIdentifiers(),
            registry=self.registry,
            valid_for=timedelta(hours=8),
            lab=lab,
        )

    def define(self, action: Action) -> ActionDefinition[Naming]:
        def execute(parameters: Naming, by: Performer) -> Mapping[str, object]:
            self.done.append((parameters.name, by.actor))
            return {"name": parameters.name}

        return ActionDefinition(
            action,
            Naming,
            lambda parameters: f"Make {parameters.name} of {parameters.length} bytes.",
            execute,
            lambda parameters: 2 if parameters.many else 0,
        )

    def submit(self, who: Principal, action: Action = Action.UPDATES_FORCE, **raw: object) -> Submitted:
        return self.actions.submit(who, action, {"name": "ssd", **raw}, reason="ticket 7")

    def audited(self) -> list[tuple[str, str, str]]:
        with self.store.reading() as reading:
            return [(event.actor, event.action, event.result) for event in reading.audit.list()]


def test_what_needs_nobody_is_done_at_once() -> None:
    desk = Desk()
    submitted = desk.submit(ALICE)
    assert (submitted.result, submitted.request) == ({"name": "ssd"}, None)
    assert desk.done == [("ssd", "person alice")]


def test_what_needs_approval_becomes_a_request_and_is_not_done() -> None:
    desk = Desk()
    request = desk.submit(ALICE, Action.KEYS_GENERATE, value="ab").request
    assert request is not None
    assert desk.done == []
    assert (request.text, request.quorum, request.state) == ("Make ssd of 32 bytes.", 1, RequestState.PENDING)
    assert (request.requested_by, request.expires_at) == (ALICE.person_id, NOW + timedelta(hours=8))
    assert json.loads(request.parameters) == {"name": "ssd", "length": 32, "value": "ab", "many": False}
    check_unchanged(request)
    assert desk.audited() == [("person alice", "request.add", "waits for 1")]


def test_stored_parameters_read_back_the_same() -> None:
    desk = Desk()
    request = desk.submit(ALICE, Action.KEYS_GENERATE, value="AB").request
    assert request is not None
    definition = desk.registry.get(Action.KEYS_GENERATE)
    assert definition.parse(json.loads(request.parameters)) == Naming(name="ssd", value=b"\xab")


def test_parameters_may_ask_for_approval_where_the_table_does_not() -> None:
    desk = Desk()
    request = desk.submit(ALICE, many=True).request
    assert request is not None
    assert request.quorum == 2
    assert desk.done == []


def test_the_sites_quorum_is_taken() -> None:
    desk = Desk()
    with desk.store.transaction() as transaction:
        transaction.requests.set_quorum(Quorum(Action.KEYS_GENERATE, 3, NOW))
    request = desk.submit(ALICE, Action.KEYS_GENERATE).request
    assert request is not None
    assert request.quorum == 3


@pytest.mark.parametrize("who", [ADMIN, OPERATOR, AUDITOR], ids=lambda who: str(who.name))
@pytest.mark.parametrize("action", [Action.UPDATES_FORCE, Action.KEYS_GENERATE])
def test_another_role_is_refused_and_that_is_recorded(who: Principal, action: Action) -> None:
    desk = Desk()
    with pytest.raises(KmsError) as error:
        desk.submit(who, action)
    assert error.value.code is Code.PERSON_NOT_PERMITTED
    assert desk.done == []
    assert desk.audited() == [(who.actor, "action.refuse", "refused: person.not-permitted")]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"name": 7}, "name"),
        ({"length": "32"}, "length"),
        ({"length": 17}, "length"),
        ({"value": "hello"}, "value"),
        ({"more": 1}, "more"),
    ],
)
def test_wrong_parameters_are_told_with_their_field_and_without_their_value(raw: dict[str, object], where: str) -> None:
    desk = Desk()
    with pytest.raises(KmsError) as error:
        desk.actions.submit(ALICE, Action.UPDATES_FORCE, {"name": "ssd", **raw})
    assert error.value.code is Code.INPUT_INVALID
    assert [fault.where for fault in error.value.faults] == [where]
    assert "hello" not in str(error.value.faults)
    assert error.value.__cause__ is None
    assert desk.done == []


def test_an_action_that_nobody_defined_is_none() -> None:
    with pytest.raises(KmsError) as error:
        Desk().submit(ALICE, Action.UPDATES_CANCEL)
    assert error.value.code is Code.NOT_FOUND


def test_an_action_is_defined_once() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="twice"):
        ActionRegistry(desk.define(Action.KEYS_GENERATE), desk.define(Action.KEYS_GENERATE))


def test_the_development_login_asks_nobody_and_every_record_says_so() -> None:
    desk = Desk()
    assert desk.submit(DEVELOPER, Action.KEYS_GENERATE).request is None
    assert desk.done == [("ssd", "cli:root (development login)")]


@pytest.mark.parametrize("action", [Action.UPDATES_FORCE, Action.KEYS_GENERATE])
def test_production_refuses_the_development_login(action: Action) -> None:
    desk = Desk(lab=False)
    with pytest.raises(KmsError) as error:
        desk.submit(DEVELOPER, action)
    assert error.value.code is Code.LOGIN_NEEDED
    assert desk.done == []
    assert desk.audited() == [("cli:root (development login)", "action.refuse", "refused: login.needed")]


def test_a_preview_is_the_text_and_nothing_happens() -> None:
    desk = Desk()
    text = desk.actions.preview(ALICE, Action.KEYS_GENERATE, {"name": "ssd"})
    assert text == "Make ssd of 32 bytes."
    with pytest.raises(KmsError):
        desk.actions.preview(OPERATOR, Action.KEYS_GENERATE, {"name": "ssd"})
    assert desk.audited() == []


def test_no_request_is_taken_in_recovery_but_the_one_that_ends_it() -> None:
    desk = Desk()
    with desk.store.transaction() as transaction:
        state = PlatformState("current", PlatformCondition.RECOVERY, NOW, "system", "restored")
        transaction.platform_state.add(state)
    with pytest.raises(KmsError) as error:
        desk.submit(ALICE, Action.KEYS_GENERATE)
    assert error.value.code is Code.RECOVERY
    registry = ActionRegistry(replace(desk.define(Action.RECOVERY_CONFIRM)))
    actions = ActionService(
        store=desk.store,
        clock=TickingClock(),
        identifiers=CountingIdentifiers(100),
        registry=registry,
        valid_for=timedelta(hours=8),
        lab=True,
    )
    assert actions.submit(ALICE, Action.RECOVERY_CONFIRM, {"name": "it"}).request is not None
