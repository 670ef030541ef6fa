"""Requests, decisions and quorums in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from kms.domain.requests import Approval, Quorum, Request, RequestState
from kms.errors import Code, KmsError


class MemoryRequests:
    def __init__(self, rows: dict[str, Request], decisions: list[Approval], quorums: dict[str, Quorum]) -> None:
        self._rows = rows
        self._decisions = decisions
        self._quorums = quorums

    def add(self, item: Request) -> None:
        if item.id in self._rows:
            raise KmsError(Code.CONFLICT, "The request exists.")
        self._rows[item.id] = item

    def find(self, item_id: str) -> Request | None:
        return self._rows.get(item_id)

    def get(self, item_id: str) -> Request:
        if item_id not in self._rows:
            raise KmsError(Code.NOT_FOUND, "There is no request with this id.")
        return self._rows[item_id]

    def list_pending(self, now: datetime) -> Sequence[Request]:
        return self._where(lambda item: item.state is RequestState.PENDING and item.expires_at > now)

    def list_overdue(self, now: datetime) -> Sequence[Request]:
        return self._where(lambda item: item.state is RequestState.PENDING and item.expires_at <= now)

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Request]:
        return sorted(self._rows.values(), key=lambda item: item.id, reverse=True)[offset : offset + limit]

    def move(
        self, request: Request, before: RequestState, after: RequestState, *, at: datetime, result: str = ""
    ) -> None:
        stored = self._rows.get(request.id)
        if stored is None or stored.state is not before:
            raise KmsError(Code.REQUEST_STATE, "Somebody else decided.")
        over = after not in {RequestState.PENDING, RequestState.EXECUTING}
        self._rows[request.id] = replace(stored, state=after, result=result, finished_at=at if over else None)

    def add_decision(self, approval: Approval) -> None:
        if any((old.request_id, old.person_id) == (approval.request_id, approval.person_id) for old in self._decisions):
            raise KmsError(Code.CONFLICT, "The person decided before.")
        self._decisions.append(approval)

    def list_decisions(self, request_id: str) -> Sequence[Approval]:
        return [item for item in self._decisions if item.request_id == request_id]

    def list_quorums(self) -> Sequence[Quorum]:
        return [self._quorums[name] for name in sorted(self._quorums)]

    def set_quorum(self, quorum: Quorum) -> None:
        self._quorums[str(quorum.action)] = quorum

    def _where(self, fits: Callable[[Request], bool]) -> Sequence[Request]:
        return [self._rows[name] for name in sorted(self._rows) if fits(self._rows[name])]
