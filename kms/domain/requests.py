"""Requests: what needs the approval of others, from the asking to its one execution (dual control).

Rules: the approval covers the exact text of the action: the digest binds action, parameters and text, and whoever
approves signs it. The requester does not approve, a person counts once, one rejection ends the request, and so does its
end of time. A site's quorum only ever raises what the permission table asks for; it is changed under the quorum that it
changes. At most once: a request that began to be executed is never executed again, whatever became of it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import PERMISSIONS, Action
from kms.errors import Code, KmsError

MAX_QUORUM = 9


class RequestState(StrEnum):
    """PENDING -> EXECUTING -> EXECUTED or FAILED; PENDING -> REJECTED or EXPIRED; all but the first two are final."""

    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    EXECUTED = "EXECUTED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class Decision(StrEnum):
    """What somebody said to a request."""

    APPROVE = "APPROVE"
    REJECT = "REJECT"


@dataclass(frozen=True)
class Request:
    """What was asked for. `parameters`: canonical JSON, no secret. `text`: what requester and approvers read.

    `digest`: SHA-256 over both and the action, 32 bytes. `quorum`: approvals by others that it takes. `result`: what
    became of it, safe to show.
    """

    id: str
    action: Action
    parameters: str
    text: str
    digest: bytes
    requested_by: str
    requester_name: str
    requested_at: datetime
    expires_at: datetime
    quorum: int
    state: RequestState
    reason: str = ""
    result: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Approval:
    """One person's decision. `credential_id`: what they signed it with; `evidence`: that signature over the digest.

    A rejection needs no signature.
    """

    id: str
    request_id: str
    person_id: str
    person_name: str
    account_id: str
    decision: Decision
    decided_at: datetime
    factor: CredentialKind | None
    credential_id: str = ""
    evidence: str = field(default="", repr=False)


@dataclass(frozen=True)
class Quorum:
    """A site's quorum for an action, above the table's."""

    action: Action
    approvals: int
    set_at: datetime

    @property
    def id(self) -> str:
        """One for each action."""
        return str(self.action)


def build_parameters(parameters: Mapping[str, object]) -> str:
    """Write parameters in their one form: JSON with sorted keys, no white space, ASCII."""
    return json.dumps(parameters, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def compute_digest(request_id: str, action: Action, parameters: str, text: str) -> bytes:
    """What an approver signs: SHA-256 over the request's id, its action, parameters and text, each with its length."""
    parts = [part.encode() for part in ("kms-request 1", request_id, str(action), parameters, text)]
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def compute_quorum(action: Action, raised: Collection[Quorum] = (), *, at_least: int = 0) -> int:
    """Approvals by others that an action takes: the table's, or more where the site or the parameters ask for it."""
    site = [item.approvals for item in raised if item.action is action]
    return max([PERMISSIONS[action].approvals, at_least, *site])


def check_quorum(action: Action, approvals: int) -> None:
    """Raise `input.invalid` for a quorum below the table's, or for an action that never waits for anybody."""
    least = PERMISSIONS[action].approvals
    if least == 0:
        raise KmsError(Code.INPUT_INVALID, f"{action} needs no approval, so it has no quorum.")
    if not least <= approvals <= MAX_QUORUM:
        raise KmsError(Code.INPUT_INVALID, f"The quorum of {action} is {least} at least and {MAX_QUORUM} at most.")


def check_unchanged(request: Request) -> None:
    """Raise `request.changed` unless the stored request still is what its digest binds."""
    if compute_digest(request.id, request.action, request.parameters, request.text) != request.digest:
        raise KmsError(Code.REQUEST_CHANGED, "The stored request is not what was asked for; nothing is done. Ask anew.")


def check_may_approve(request: Request, decisions: Collection[Approval], principal: Principal, now: datetime) -> None:
    """Raise `request.state` or `request.own` unless this person may decide about the request now."""
    check_pending(request, now)
    if principal.person_id == request.requested_by:
        raise KmsError(Code.REQUEST_OWN, "Whoever asked for it does not approve it, with whatever account.")
    if any(item.person_id == principal.person_id for item in decisions):
        raise KmsError(Code.REQUEST_OWN, "You have decided about this request already; a person counts once.")


def check_pending(request: Request, now: datetime) -> None:
    """Raise `request.state` unless the request still waits for approvals."""
    if request.state is not RequestState.PENDING:
        raise KmsError(Code.REQUEST_STATE, f"The request is {request.state}: nothing can be decided about it any more.")
    if now >= request.expires_at:
        raise KmsError(Code.REQUEST_STATE, "The request has expired: ask anew.")


def is_complete(request: Request, decisions: Collection[Approval]) -> bool:
    """Whether as many different persons as the quorum asks for, none of them the requester, have approved."""
    approved = {item.person_id for item in decisions if item.decision is Decision.APPROVE}
    return len(approved - {request.requested_by}) >= request.quorum
