"""A console over all real action definitions whose execution is only noted: what may reach it is what is tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from kms.console import ConsoleServices
from kms.domain.audit import AuditEvent
from kms.domain.people import CredentialKind, Principal, Role
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.action_definitions.registry import build_registry
from kms.service.action_ports import ActingServices
from kms.service.actions import ActionRegistry, ActionService, Performer
from kms.service.login import Opened
from kms.service.requests import RequestService, Signature
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import build_principal
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock

# What commands show of results.
RESULT: Mapping[str, object] = {
    "updates": (),
    "changes": (),
    **dict.fromkeys(("text", "id", "acknowledged_by"), ""),
    **dict.fromkeys(("settled", "cards", "enrolled", "skipped"), 0),
}
PASSWORD, CODE = "seven brown horses", "123456"


@dataclass
class FakeLogins:
    """Everybody's secret is `secret-NAME`."""

    people: dict[str, Principal] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)

    def login(self, login: str, password: str, proof: Mapping[str, object], *, source: str = "") -> Opened:  # noqa: ARG002 - as the port
        if login not in self.people or password != PASSWORD or proof != {"totp": CODE}:
            raise KmsError(Code.LOGIN_REFUSED, "Login, password or second factor is wrong.")
        self.out.discard(f"secret-{login}")
        return Opened(f"secret-{login}", self.people[login], NOW + timedelta(hours=12))

    def authenticate(self, secret: str, *, touch: bool = True) -> Principal:  # noqa: ARG002 - as the port
        found = self.people.get(secret.removeprefix("secret-"))
        if found is None or secret in self.out:
            raise KmsError(Code.LOGIN_NEEDED, "Log in again.")
        return found

    def logout(self, secret: str) -> None:
        self.out.add(secret)

    def check_approval(self, principal: Principal, digest: bytes, proof: Mapping[str, object]) -> Signature:  # noqa: ARG002 - as the port
        if proof != {"totp": CODE}:
            raise KmsError(Code.LOGIN_REFUSED, "The second factor is wrong.")
        return Signature("credential", CredentialKind.TOTP, "totp")


class Office:
    """A person of each role, named after it, and a second security officer, `other`."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.done: list[Action] = []
        self.logins = FakeLogins({str(role): build_principal(str(role), role) for role in Role})
        self.logins.people["other"] = build_principal("other", Role.SECURITY_OFFICER)
        clock, identifiers = TickingClock(), CountingIdentifiers()
        quorums = SimpleNamespace(find=lambda _action: 1)
        updates = SimpleNamespace(count_forced=lambda _card, _aid: 1)
        parts = dict.fromkeys(name for name in vars(ActingServices) if not name.startswith("_"))
        services = SimpleNamespace(**{**parts, "quorums": quorums, "updates": updates})
        real = build_registry(cast("ActingServices", services), force_without=10)
        self.registry = ActionRegistry(
            *(replace(real.get(action), execute=self._note(action)) for action in sorted(real.actions))
        )
        self.actions = ActionService(
            store=self.store,
            clock=clock,
            identifiers=identifiers,
            registry=self.registry,
            valid_for=timedelta(hours=72),
            lab=False,
        )
        self.requests = RequestService(
            store=self.store,
            clock=clock,
            identifiers=identifiers,
            registry=self.registry,
            authenticator=self.logins,
        )
        self.services = ConsoleServices("issuer", self.logins, self.actions, self.requests)

    def audited(self) -> list[AuditEvent]:
        """The newest first."""
        with self.store.reading() as reading:
            return list(reading.audit.list(limit=1000))

    def _note(self, action: Action) -> Any:  # noqa: ANN401 - stands for any execution
        def execute(_given: object, _by: Performer) -> Mapping[str, object]:
            self.done.append(action)
            return RESULT

        return execute
