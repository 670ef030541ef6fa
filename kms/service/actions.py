"""Everything that people do goes through here: one registry of actions, one way to permission, approval and record.

Rules: an action is its name, the strict form of its parameters, the text that people read, and the service call that
carries it out. Console, admin API and command line submit actions and nothing else. What needs no approval is executed
at once; the rest becomes a request. Refusals are recorded as well. The development login of lab mode asks nobody, and
every record says so.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kms.domain.audit import AuditEvent
from kms.domain.people import Principal
from kms.domain.permissions import Action, check_permitted
from kms.domain.requests import Request, RequestState, build_parameters, compute_digest, compute_quorum
from kms.errors import Code, Fault, KmsError
from kms.service.ports import Clock, Identifiers, Store
from kms.service.recovery import check_normal


class Parameters(BaseModel):
    """The form of an action's parameters: strict, nothing unknown, no secrets ever (they are stored and shown).

    Bytes are written as hex, times in ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, val_json_bytes="hex", ser_json_bytes="hex")


@dataclass(frozen=True)
class Performer:
    """Who an action is carried out for. `actor`: for the audit log. `person_id`: who asked for it.

    `principal`: with their login, where it is carried out while they ask.
    """

    actor: str
    person_id: str
    principal: Principal | None = None


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class ActionDefinition(Generic[P]):
    """How one action is asked for and carried out.

    `describe`: the whole action in words, exact enough to be signed. `execute`: gets the parameters and for whom it
    is done; its result is shown to who asked. `approvals`: how many these parameters take, where that is more
    than the table says.
    """

    action: Action
    parameters: type[P]
    describe: Callable[[P], str]
    execute: Callable[[P, Performer], Mapping[str, object]]
    approvals: Callable[[P], int] = lambda _parameters: 0

    def parse(self, raw: Mapping[str, object]) -> P:
        """Read parameters as JSON holds them. Raises `input.invalid` with every fault and its field, without values."""
        try:
            return self.parameters.model_validate_json(json.dumps(raw))
        except ValidationError as error:
            faults = tuple(
                Fault(".".join(map(str, item["loc"])) or "parameters", item["msg"])
                for item in error.errors(include_url=False, include_context=False, include_input=False)
            )
        # Not from the cause: its text would quote what was given.
        raise KmsError(Code.INPUT_INVALID, f"{self.action} was asked for wrongly.", faults=faults)


@dataclass(frozen=True)
class Submitted:
    """What became of a submitted action: it was executed, or it is a request that waits for others."""

    result: Mapping[str, object] | None = None
    request: Request | None = None


class ActionRegistry:
    """The definitions by action. Raises ValueError for one that is defined twice."""

    def __init__(self, *definitions: ActionDefinition[Any]) -> None:
        self._definitions: dict[Action, ActionDefinition[Any]] = {}
        for definition in definitions:
            if definition.action in self._definitions:
                raise ValueError(f"{definition.action} is defined twice")
            self._definitions[definition.action] = definition

    @property
    def actions(self) -> frozenset[Action]:
        """All that are defined."""
        return frozenset(self._definitions)

    def get(self, action: Action) -> ActionDefinition[Any]:
        """The definition. Raises `input.not-found`."""
        definition = self._definitions.get(action)
        if definition is None:
            raise KmsError(Code.NOT_FOUND, f"{action} is nothing that is asked for in this way.")
        return definition


class ActionService:
    """Takes actions. `valid_for`: how long a request waits for approvals. `lab`: takes the development login, too."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        registry: ActionRegistry,
        valid_for: timedelta,
        lab: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._registry = registry
        self._valid_for = valid_for
        self._lab = lab

    def submit(self, principal: Principal, action: Action, raw: Mapping[str, object], *, reason: str = "") -> Submitted:
        """Execute an action that needs nobody's approval, or make it a request.

        `reason`: why, in the words of who asks (a ticket). Raises `person.not-permitted`, `login.needed`,
        `input.invalid`, `platform.recovery`, and whatever the action itself raises.
        """
        try:
            self._check(principal, action)
        except KmsError as error:
            self._log(principal, "action.refuse", str(action), f"refused: {error.code}", reason=reason)
            raise
        definition = self._registry.get(action)
        parameters = definition.parse(raw)
        with self._store.reading() as reading:
            quorums = reading.requests.list_quorums()
        quorum = compute_quorum(action, quorums, at_least=definition.approvals(parameters))
        if quorum == 0 or principal.development:
            by = Performer(principal.actor, principal.person_id, principal)
            return Submitted(result=definition.execute(parameters, by))
        return Submitted(request=self._add_request(principal, definition, parameters, quorum, reason))

    def preview(self, principal: Principal, action: Action, raw: Mapping[str, object]) -> str:
        """The text that a request would have. Raises as `submit`."""
        self._check(principal, action)
        definition = self._registry.get(action)
        return definition.describe(definition.parse(raw))

    def _check(self, principal: Principal, action: Action) -> None:
        if principal.development and not self._lab:
            raise KmsError(Code.LOGIN_NEEDED, "Production mode refuses the development login: log in (`kms login`).")
        check_permitted(principal, action)

    def _add_request(
        self, principal: Principal, definition: ActionDefinition[Any], parameters: Parameters, quorum: int, reason: str
    ) -> Request:
        now = self._clock.now()
        request_id = self._identifiers.new()
        stored = build_parameters(parameters.model_dump(mode="json"))
        text = definition.describe(parameters)
        request = Request(
            id=request_id,
            action=definition.action,
            parameters=stored,
            text=text,
            digest=compute_digest(request_id, definition.action, stored, text),
            requested_by=principal.person_id,
            requester_name=principal.name,
            requested_at=now,
            expires_at=now + self._valid_for,
            quorum=quorum,
            state=RequestState.PENDING,
            reason=reason,
        )
        with self._store.transaction() as transaction:
            if request.action is not Action.RECOVERY_CONFIRM:  # what ends recovery must be possible in it
                check_normal(transaction, "Requests")
            transaction.requests.add(request)
            event = AuditEvent(
                self._identifiers.new(),
                now,
                principal.actor,
                "request.add",
                str(definition.action),
                f"waits for {quorum}",
                detail=text,
                reason=reason,
                request_id=request_id,
            )
            transaction.audit.append(event)
        return request

    def _log(self, principal: Principal, what: str, subject: str, result: str, *, reason: str) -> None:
        event = AuditEvent(
            self._identifiers.new(), self._clock.now(), principal.actor, what, subject, result, reason=reason
        )
        with self._store.transaction() as transaction:
            transaction.audit.append(event)
