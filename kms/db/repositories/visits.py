"""Visits and their journal."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, insert, select

from kms.db.faults import translate_faults
from kms.db.models import VisitEventRow, VisitRow
from kms.db.repositories.base import SqlRepository, build_values
from kms.domain.visits import Visit, VisitEvent, VisitState

_BY_SESSION = select(VisitRow.__table__).where(VisitRow.session_id == bindparam("session_id")).limit(1)
_OPEN_FOR_CARD = (
    select(VisitRow.__table__)
    .where(VisitRow.card_id == bindparam("card_id"), VisitRow.state == VisitState.OPEN)
    .order_by(VisitRow.opened_at, VisitRow.id)
)
_ADD_EVENT = insert(VisitEventRow)


class SqlVisitRepository(SqlRepository[Visit]):
    """`kms.service.ports.VisitRepository`."""

    noun = "visit"
    model = VisitRow
    value = Visit

    def find_by_session(self, session_id: str) -> Visit | None:
        """Read the visit with this SERAM sessionId."""
        return self._find_prepared(_BY_SESSION, session_id=session_id)

    def list_open_for_card(self, card_id: str) -> Sequence[Visit]:
        """Read the card's OPEN visits, oldest first."""
        return self._list(_OPEN_FOR_CARD, card_id=card_id)

    def list_mismatched(
        self, *, since: datetime, card_id: str | None = None, terminal_id: str | None = None
    ) -> Sequence[Visit]:
        """Read the visits opened since then, of a card or at a terminal, in which a cryptogram fitted no known set."""
        statement = self._select().where(VisitRow.mismatches > 0, VisitRow.opened_at >= since)
        if card_id is not None:
            statement = statement.where(VisitRow.card_id == card_id)
        if terminal_id is not None:
            statement = statement.where(VisitRow.terminal_id == terminal_id)
        return self._list(statement.order_by(VisitRow.opened_at, VisitRow.id))

    def add_event(self, event: VisitEvent) -> None:
        """Append a line to the journal. Raises `input.conflict` when its number is taken."""
        self._write(_ADD_EVENT, build_values(event))

    def list_events(self, visit_id: str) -> Sequence[VisitEvent]:
        """Read the visit's journal in order."""
        columns = VisitEventRow.__table__
        statement = select(columns).where(VisitEventRow.visit_id == visit_id).order_by(VisitEventRow.number)
        with translate_faults(self.noun):
            return [VisitEvent(**row) for row in self._connection.execute(statement).mappings()]
