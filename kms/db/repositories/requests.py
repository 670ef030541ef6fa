"""Requests, decisions, quorums."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from kms.db.faults import translate_faults
from kms.db.models import ApprovalRow, QuorumRow, RequestRow
from kms.db.repositories.base import SqlRepository, build_values
from kms.domain.permissions import Action
from kms.domain.requests import Approval, Quorum, Request, RequestState
from kms.errors import Code, KmsError


def _build_request(action: str, **fields: object) -> Request:
    return Request(action=Action(action), **fields)  # type: ignore[arg-type] # a row's columns are the value's fields


class SqlRequestRepository(SqlRepository[Request]):
    """`kms.service.ports.RequestRepository`."""

    noun = "request"
    model = RequestRow
    value = _build_request

    def list_pending(self, now: datetime) -> Sequence[Request]:
        """PENDING requests whose time is not over, the oldest first."""
        waiting = self._select().where(RequestRow.state == RequestState.PENDING, RequestRow.expires_at > now)
        return self._list(waiting.order_by(RequestRow.id))

    def list_overdue(self, now: datetime) -> Sequence[Request]:
        """PENDING requests whose time is over, the oldest first."""
        late = self._select().where(RequestRow.state == RequestState.PENDING, RequestRow.expires_at <= now)
        return self._list(late.order_by(RequestRow.id))

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Request]:
        """All requests, the newest first."""
        return self._list(self._select().order_by(RequestRow.id.desc()).limit(limit).offset(offset))

    def move(
        self, request: Request, before: RequestState, after: RequestState, *, at: datetime, result: str = ""
    ) -> None:
        """Change the state where it still is `before`, in one statement; else `request.state`."""
        final = after not in (RequestState.PENDING, RequestState.EXECUTING)
        values = {"state": after, "result": result, "finished_at": at if final else None}
        statement = update(RequestRow).where(RequestRow.id == request.id, RequestRow.state == before).values(values)
        if self._write(statement) == 0:
            raise KmsError(Code.REQUEST_STATE, "Somebody else decided about the request at the same moment.")

    def add_decision(self, approval: Approval) -> None:
        """Write a decision. Raises `input.conflict` when the person decided before."""
        with translate_faults("decision"):
            self._connection.execute(insert(ApprovalRow).values(build_values(approval)))

    def list_decisions(self, request_id: str) -> Sequence[Approval]:
        """What was decided about a request, the oldest first."""
        statement = select(*ApprovalRow.__table__.columns).where(ApprovalRow.request_id == request_id)
        with translate_faults("decision"):
            rows = self._connection.execute(statement.order_by(ApprovalRow.id)).mappings().all()
        return [Approval(**row) for row in rows]

    def list_quorums(self) -> Sequence[Quorum]:
        """The site's quorums."""
        with translate_faults("quorum"):
            rows = self._connection.execute(select(*QuorumRow.__table__.columns).order_by(QuorumRow.action)).all()
        return [Quorum(Action(action), approvals, set_at) for action, approvals, set_at in rows]

    def set_quorum(self, quorum: Quorum) -> None:
        """Put a quorum in the place of the one before."""
        with translate_faults("quorum"):
            self._connection.execute(delete(QuorumRow).where(QuorumRow.action == str(quorum.action)))
            values = {"action": str(quorum.action), "approvals": quorum.approvals, "set_at": quorum.set_at}
            self._connection.execute(insert(QuorumRow).values(values))
