"""Requests from the asking to their one execution: who decides, what is refused, and that all of it is recorded."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import Action
from kms.domain.recovery import PlatformCondition, PlatformState
from kms.domain.requests import Decision, Quorum, Request, RequestState
from kms.errors import Code, KmsError
from kms.service.actions import ActionDefinition, ActionRegistry, ActionService, Parameters, Performer
from kms.service.requests import RequestRecord, RequestService, Signature
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import ALICE, ALICE_AGAIN, AUDITOR, BOB, CAROL, OPERATOR
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock

PROOF = {"totp": "123456"}


class Naming(Parameters):
    name: str


class Authenticator:
    """Takes one proof, once for each person and digest."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []

    def check_approval(self, principal: Principal, digest: bytes, proof: Mapping[str, object]) -> Signature:
        if proof != PROOF:
            raise KmsError(Code.LOGIN_NEEDED, "The code is wrong.")
        self.taken.append((principal.name, digest))
        return Signature("credential-1", CredentialKind.TOTP, "totp")


class Desk:
    def __init__(self, quorum: int = 1) -> None:
        self.store = MemoryStore()
        self.clock = TickingClock()
        self.done: list[tuple[str, str]] = []
        self.fail_with: Exception | None = None
        self.authenticator = Authenticator()
        identifiers = CountingIdentifiers()
        registry = ActionRegistry(
            ActionDefinition(Action.KEYS_GENERATE, Naming, lambda given: f"Make {given.name}.", self.execute)
        )
        self.actions = ActionService(
            store=self.store,
            clock=self.clock,
            identifiers=identifiers,
            registry=registry,
            valid_for=timedelta(hours=8),
            lab=False,
        )
        self.requests = RequestService(
            store=self.store,
            clock=self.clock,
            identifiers=identifiers,
            registry=registry,
            authenticator=self.authenticator,
        )
        if quorum > 1:
            with self.store.transaction() as transaction:
                transaction.requests.set_quorum(Quorum(Action.KEYS_GENERATE, quorum, NOW))

    def execute(self, given: Naming, by: Performer) -> Mapping[str, object]:
        self.done.append((given.name, by.actor))
        if self.fail_with is not None:
            raise self.fail_with
        return {"name": given.name, "kcv": b"\xab"}

    def ask(self, who: Principal = ALICE) -> Request:
        request = self.actions.submit(who, Action.KEYS_GENERATE, {"name": "ssd"}, reason="ticket 7").request
        assert request is not None
        return request

    def approve(
        self, who: Principal, request: Request, digest: bytes | None = None, proof: Mapping[str, object] = PROOF
    ) -> RequestRecord:
        return self.requests.approve(who, request.id, request.digest if digest is None else digest, proof)

    def audited(self, action: str) -> list[tuple[str, str]]:
        with self.store.reading() as reading:
            return [(event.actor, event.result) for event in reading.audit.list() if event.action == action]

    def check_refused(self, who: Principal, request: Request, code: Code, **how: object) -> None:
        """An approval raises `code`, is recorded, and nothing is executed."""
        before = len(self.done)
        with pytest.raises(KmsError) as error:
            self.approve(who, request, **how)  # type: ignore[arg-type] # the keywords of approve
        assert error.value.code is code
        assert self.audited("request.approve")[0] == (who.actor, f"refused: {code}")
        assert len(self.done) == before


def test_the_approval_of_another_executes_it() -> None:
    desk = Desk()
    request = desk.ask()
    record = desk.approve(BOB, request)
    assert desk.done == [("ssd", f"person alice (request {request.id})")]
    assert record.request.state is RequestState.EXECUTED
    assert record.request.result == '{"kcv": "AB", "name": "ssd"}'
    assert record.request.finished_at == NOW
    assert [(item.person_name, item.decision, item.factor, item.evidence) for item in record.decisions] == [
        ("bob", Decision.APPROVE, CredentialKind.TOTP, "totp")
    ]
    assert desk.authenticator.taken == [("bob", request.digest)]
    assert desk.audited("request.approve") == [("person bob", "approved")]
    assert desk.audited("request.execute") == [("system", "executed")]


def test_the_requester_does_not_approve_with_any_account() -> None:
    desk = Desk()
    request = desk.ask()
    desk.check_refused(ALICE, request, Code.REQUEST_OWN)
    desk.check_refused(ALICE_AGAIN, request, Code.REQUEST_OWN)
    assert desk.authenticator.taken == []
    assert desk.requests.get(request.id).request.state is RequestState.PENDING


def test_a_person_counts_once_whatever_accounts_they_have() -> None:
    desk = Desk(quorum=2)
    request = desk.ask(CAROL)
    desk.approve(ALICE, request)
    desk.check_refused(ALICE_AGAIN, request, Code.REQUEST_OWN)
    desk.check_refused(ALICE, request, Code.REQUEST_OWN)
    assert desk.approve(BOB, request).request.state is RequestState.EXECUTED


def test_an_approval_that_is_sent_again_executes_nothing() -> None:
    desk = Desk()
    request = desk.ask()
    desk.approve(BOB, request)
    desk.check_refused(BOB, request, Code.REQUEST_STATE)
    desk.check_refused(CAROL, request, Code.REQUEST_STATE)
    assert len(desk.done) == 1


def test_what_was_shown_is_what_is_approved() -> None:
    desk = Desk()
    request = desk.ask()
    desk.check_refused(BOB, request, Code.REQUEST_CHANGED, digest=hashlib.sha256(b"another text").digest())
    desk.check_refused(BOB, request, Code.REQUEST_CHANGED, digest=b"")
    with pytest.raises(KmsError) as error:
        desk.requests.reject(BOB, request.id, bytes(32))
    assert error.value.code is Code.REQUEST_CHANGED


@pytest.mark.parametrize(
    "change",
    [{"parameters": '{"name":"other"}'}, {"text": "Make tea."}, {"action": Action.EXCHANGE_ANSWER}],
    ids=["parameters", "text", "action"],
)
def test_a_stored_request_that_was_changed_is_not_executed(change: dict[str, object]) -> None:
    desk = Desk()
    request = desk.ask()
    rows = desk.store._tables.requests  # noqa: SLF001 - as somebody with the database would; the port has no such way
    rows[request.id] = replace(request, **change)  # type: ignore[arg-type] # fields by name
    desk.check_refused(BOB, request, Code.REQUEST_CHANGED)


def test_one_rejection_ends_it() -> None:
    desk = Desk(quorum=2)
    request = desk.ask()
    desk.approve(BOB, request)
    record = desk.requests.reject(CAROL, request.id, request.digest)
    assert record.request.state is RequestState.REJECTED
    desk.check_refused(CAROL, request, Code.REQUEST_STATE)
    assert desk.done == []
    assert desk.audited("request.reject") == [("person carol", "rejected")]


def test_a_request_expires() -> None:
    desk = Desk()
    request = desk.ask()
    desk.clock.move(hours=8)
    assert list(desk.requests.list_pending()) == []
    desk.check_refused(BOB, request, Code.REQUEST_STATE)
    assert desk.requests.expire() == "1 requests expired"
    assert desk.requests.get(request.id).request.state is RequestState.EXPIRED
    assert desk.requests.expire() == "0 requests expired"
    desk.check_refused(BOB, request, Code.REQUEST_STATE)
    assert desk.audited("request.expire") == [("scheduler", "expired")]


def test_a_quorum_that_was_lowered_later_does_not_help_a_request() -> None:
    desk = Desk(quorum=2)
    request = desk.ask()
    with desk.store.transaction() as transaction:
        transaction.requests.set_quorum(Quorum(Action.KEYS_GENERATE, 1, NOW))
    assert desk.approve(BOB, request).request.state is RequestState.PENDING
    assert desk.done == []
    assert desk.approve(CAROL, request).request.state is RequestState.EXECUTED


def test_a_quorum_that_was_raised_later_holds() -> None:
    desk = Desk()
    request = desk.ask()
    with desk.store.transaction() as transaction:
        transaction.requests.set_quorum(Quorum(Action.KEYS_GENERATE, 2, NOW))
    assert desk.approve(BOB, request).request.state is RequestState.PENDING
    assert desk.approve(CAROL, request).request.state is RequestState.EXECUTED


@pytest.mark.parametrize("who", [OPERATOR, AUDITOR], ids=lambda who: str(who.name))
def test_other_roles_do_not_decide(who: Principal) -> None:
    desk = Desk()
    request = desk.ask()
    desk.check_refused(who, request, Code.PERSON_NOT_PERMITTED)
    with pytest.raises(KmsError) as error:
        desk.requests.reject(who, request.id, request.digest)
    assert error.value.code is Code.PERSON_NOT_PERMITTED
    assert desk.audited("request.reject") == [(who.actor, "refused: person.not-permitted")]


def test_without_a_fresh_second_factor_nothing_is_approved() -> None:
    desk = Desk()
    request = desk.ask()
    desk.check_refused(BOB, request, Code.LOGIN_NEEDED, proof={"totp": "000000"})
    assert desk.requests.get(request.id).decisions == []


def test_an_action_that_is_refused_makes_the_request_failed_for_good() -> None:
    desk = Desk()
    desk.fail_with = KmsError(Code.CONFLICT, "The name is taken.")
    request = desk.ask()
    record = desk.approve(BOB, request)
    assert (record.request.state, record.request.result) == (
        RequestState.FAILED,
        "input.conflict: The name is taken.",
    )
    desk.check_refused(CAROL, request, Code.REQUEST_STATE)
    assert desk.audited("request.execute") == [("system", "failed")]


def test_a_fault_of_ours_makes_it_failed_too_and_is_told() -> None:
    desk = Desk()
    desk.fail_with = RuntimeError("secret")
    request = desk.ask()
    with pytest.raises(RuntimeError):
        desk.approve(BOB, request)
    stored = desk.requests.get(request.id).request
    assert stored.state is RequestState.FAILED
    assert "secret" not in stored.result


def test_a_request_that_began_to_be_executed_is_never_begun_again() -> None:
    """As after a process that died: EXECUTING stays, for people to look into."""
    desk = Desk()
    request = desk.ask()
    with desk.store.transaction() as transaction:
        transaction.requests.move(request, RequestState.PENDING, RequestState.EXECUTING, at=NOW)
    desk.check_refused(BOB, request, Code.REQUEST_STATE)


def test_two_who_approve_at_the_same_moment_execute_it_once() -> None:
    desk = Desk()
    request = desk.ask()
    barrier = threading.Barrier(2)
    ends: list[str] = []

    def approve(who: Principal) -> None:
        barrier.wait()
        try:
            ends.append(str(desk.approve(who, request).request.state))
        except KmsError as error:
            ends.append(str(error.code))

    threads = [threading.Thread(target=approve, args=(who,)) for who in (BOB, CAROL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.done) == 1
    assert sorted(ends) in (["EXECUTED", "request.state"], ["EXECUTED", "EXECUTED"], ["EXECUTED", "EXECUTING"])


def test_nothing_is_approved_in_recovery() -> None:
    desk = Desk()
    request = desk.ask()
    with desk.store.transaction() as transaction:
        state = PlatformState("current", PlatformCondition.RECOVERY, NOW, "system", "restored")
        transaction.platform_state.add(state)
    desk.check_refused(BOB, request, Code.RECOVERY)


def test_lists() -> None:
    desk = Desk()
    first, second = desk.ask(), desk.ask(BOB)
    desk.approve(CAROL, first)
    assert [item.id for item in desk.requests.list_pending()] == [second.id]
    assert [item.id for item in desk.requests.list_newest()] == [second.id, first.id]
    with pytest.raises(KmsError) as error:
        desk.requests.get("nothing")
    assert error.value.code is Code.NOT_FOUND
