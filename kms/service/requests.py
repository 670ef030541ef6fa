"""Deciding about requests, and executing what enough people approved.

Rules: an approval is taken only with fresh authentication over the request's digest, and only for the digest that the
approver was shown. Whoever completes the quorum claims the execution with one conditional statement, so it happens once
however many approve at the same moment; a process that dies while executing leaves EXECUTING, which people look into,
never a second execution. Every refusal is recorded.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

from kms.domain.audit import AuditEvent
from kms.domain.people import BY_REQUEST, PERSON, CredentialKind, Principal
from kms.domain.permissions import Action, check_may_decide
from kms.domain.requests import (
    Approval,
    Decision,
    Request,
    RequestState,
    check_may_approve,
    check_unchanged,
    compute_quorum,
    is_complete,
)
from kms.errors import Code, KmsError
from kms.service.actions import ActionRegistry, Performer
from kms.service.plain_values import to_plain
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal
from kms.service.visits import until_claimed


@dataclass(frozen=True)
class Signature:
    """What an approver authenticated with, freshly and over the digest: `evidence` is what can be checked again."""

    credential_id: str
    factor: CredentialKind
    evidence: str


class Authenticator(Protocol):
    """Takes an approver's fresh authentication."""

    def check_approval(self, principal: Principal, digest: bytes, proof: Mapping[str, object]) -> Signature:
        """Check a second factor that was shown now, for this digest. Raises `login.refused`."""
        ...


@dataclass(frozen=True)
class RequestRecord:
    """A request with what was decided about it, the oldest first."""

    request: Request
    decisions: Sequence[Approval]


class RequestService:
    """The use cases of requests."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        registry: ActionRegistry,
        authenticator: Authenticator,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._registry = registry
        self._authenticator = authenticator

    def get(self, request_id: str) -> RequestRecord:
        """A request with its decisions. Raises `input.not-found`."""
        with self._store.reading() as reading:
            return RequestRecord(reading.requests.get(request_id), reading.requests.list_decisions(request_id))

    def list_pending(self) -> Sequence[Request]:
        """Requests that wait for approvals, the oldest first; those past their time are not among them."""
        with self._store.reading() as reading:
            return reading.requests.list_pending(self._clock.now())

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Request]:
        """All requests, the newest first."""
        with self._store.reading() as reading:
            return reading.requests.list_newest(limit=limit, offset=offset)

    def approve(
        self, principal: Principal, request_id: str, digest: bytes, proof: Mapping[str, object]
    ) -> RequestRecord:
        """Approve what was shown under `digest`; the last approval that it takes executes the request.

        `proof`: the second factor, shown now. Raises `person.not-permitted`, `request.*`, `login.refused`,
        `platform.recovery`; what the action raises makes the request FAILED and is its result.
        """
        try:
            with self._store.reading() as reading:
                request = self._check(reading, principal, request_id, digest)
                if request.action is not Action.RECOVERY_CONFIRM:  # what ends recovery must be possible in it
                    check_normal(reading, "Approvals")
            signature = self._authenticator.check_approval(principal, digest, proof)
            complete = until_claimed(lambda: self._decide(principal, request_id, digest, Decision.APPROVE, signature))
        except KmsError as error:
            self._refuse(principal, request_id, "request.approve", error)
        return self._execute(complete) if complete is not None else self.get(request_id)

    def reject(self, principal: Principal, request_id: str, digest: bytes) -> RequestRecord:
        """End a request for good. Raises as `approve`."""
        try:
            until_claimed(lambda: self._decide(principal, request_id, digest, Decision.REJECT, None))
        except KmsError as error:
            self._refuse(principal, request_id, "request.reject", error)
        return self.get(request_id)

    def expire(self) -> str:
        """End what waited too long (a job of the scheduler). Says how many."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            overdue = transaction.requests.list_overdue(now)
            for request in overdue:
                transaction.requests.move(request, RequestState.PENDING, RequestState.EXPIRED, at=now)
                transaction.audit.append(self._build_event("scheduler", "request.expire", request, "expired"))
        return f"{len(overdue)} requests expired"

    def _check(self, reading: Transaction, principal: Principal, request_id: str, digest: bytes) -> Request:
        request = reading.requests.get(request_id)
        check_may_decide(principal, request.action)
        check_unchanged(request)
        if not hmac.compare_digest(request.digest, digest):
            raise KmsError(Code.REQUEST_CHANGED, "What you were shown is not this request: look at it again.")
        check_may_approve(request, reading.requests.list_decisions(request_id), principal, self._clock.now())
        return request

    def _decide(
        self,
        principal: Principal,
        request_id: str,
        digest: bytes,
        decision: Decision,
        signature: Signature | None,
    ) -> Request | None:
        """Write a decision; the request, claimed for execution, when it completes the quorum."""
        now = self._clock.now()
        with self._store.transaction() as transaction:
            request = self._check(transaction, principal, request_id, digest)
            # Takes the row, so that of two who decide at once the second sees the first: nobody's approval is lost.
            transaction.requests.move(request, RequestState.PENDING, RequestState.PENDING, at=now)
            approval = Approval(
                id=self._identifiers.new(),
                request_id=request_id,
                person_id=principal.person_id,
                person_name=principal.name,
                account_id=principal.account_id,
                decision=decision,
                decided_at=now,
                factor=signature.factor if signature is not None else None,
                credential_id=signature.credential_id if signature is not None else "",
                evidence=signature.evidence if signature is not None else "",
            )
            transaction.requests.add_decision(approval)
            word = "approved" if decision is Decision.APPROVE else "rejected"
            with_what = f"with {approval.factor}" if approval.factor is not None else ""
            event = self._build_event(principal.actor, f"request.{decision.lower()}", request, word, detail=with_what)
            transaction.audit.append(event)
            if decision is Decision.REJECT:
                transaction.requests.move(request, RequestState.PENDING, RequestState.REJECTED, at=now)
                return None
            asked = compute_quorum(request.action, transaction.requests.list_quorums(), at_least=request.quorum)
            # A quorum that was raised since holds; one that was lowered does not.
            if not is_complete(replace(request, quorum=asked), transaction.requests.list_decisions(request_id)):
                return None
            transaction.requests.move(request, RequestState.PENDING, RequestState.EXECUTING, at=now)
            return replace(request, state=RequestState.EXECUTING)

    def _execute(self, request: Request) -> RequestRecord:
        definition = self._registry.get(request.action)
        by = Performer(f"{PERSON}{request.requester_name}{BY_REQUEST}{request.id})", request.requested_by)
        try:
            parameters = definition.parse(json.loads(request.parameters))
            result = json.dumps(to_plain(definition.execute(parameters, by)), sort_keys=True)
            state = RequestState.EXECUTED
        except KmsError as error:
            state, result = RequestState.FAILED, f"{error.code}: {error.detail}"
        except Exception:
            self._finish(request, RequestState.FAILED, f"{Code.INTERNAL}: something went wrong that should not")
            raise
        self._finish(request, state, result)
        return self.get(request.id)

    def _finish(self, request: Request, state: RequestState, result: str) -> None:
        with self._store.transaction() as transaction:
            now = self._clock.now()
            transaction.requests.move(request, RequestState.EXECUTING, state, at=now, result=result)
            shown = result if state is RequestState.FAILED else ""
            transaction.audit.append(
                self._build_event("system", "request.execute", request, str(state).lower(), detail=shown)
            )

    def _refuse(self, principal: Principal, request_id: str, what: str, error: KmsError) -> NoReturn:
        event = AuditEvent(
            self._identifiers.new(),
            self._clock.now(),
            principal.actor,
            what,
            f"request {request_id}"[:200],
            f"refused: {error.code}",
            request_id=request_id[:36],
        )
        with self._store.transaction() as transaction:
            transaction.audit.append(event)
        raise error

    def _build_event(self, actor: str, what: str, request: Request, result: str, *, detail: str = "") -> AuditEvent:
        return AuditEvent(
            self._identifiers.new(),
            self._clock.now(),
            actor,
            what,
            str(request.action),
            result,
            detail=detail,
            reason=request.reason,
            request_id=request.id,
        )
