"""The list of what is pending: one page by one statement, whatever the number of rows.

Rules: the statement walks the partial index over open updates in the order of the list and looks at a bounded number of
them, so that a filter that fits little makes short pages and no slow ones.
"""

from typing import Any

from sqlalchemy import Connection, Select, and_, false, or_, select, text, tuple_

from kms.db.faults import translate_faults
from kms.db.models import CardRow, KeyUpdateRow, SecurityDomainRow
from kms.db.repositories.key_updates import build_released
from kms.domain.cards import CardState
from kms.domain.pending import PendingCursor, PendingFilter, PendingItem, PendingRow, PendingRows

SCANNED = 2000  # updates looked at for one page, at most
SPARE = 2  # times as many as asked for, where only cards that are set aside are passed over

# An open update is not finished: the partial index's condition. Its state is looked at in a form that no other index
# answers, or SQLite would take that one and sort all that is open for every page.
_IS_OPEN = text("key_updates.finished_at IS NULL AND coalesce(key_updates.state, '') IN ('PENDING', 'RUNNING')")


class SqlPendingRepository:
    """`kms.service.ports.PendingRepository`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_page(self, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None) -> PendingRows:
        """Read a page. `limit`: at most 1000 updates."""
        scanned = SCANNED if wanted.is_narrow else min(SCANNED, SPARE * (limit + 1))
        opened = _build_scan(wanted, after).limit(scanned).subquery()
        statement = (
            select(opened.c.id, CardRow.identity, SecurityDomainRow.aid, opened.c.reason, opened.c.due_at)
            .select_from(opened)
            .join(SecurityDomainRow, SecurityDomainRow.id == opened.c.security_domain_id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(CardRow.state == CardState.ENROLLED, *_build_limits(wanted))
        )
        if wanted.aid is not None:
            statement = statement.where(SecurityDomainRow.aid == wanted.aid)
        if wanted.reason is not None:
            statement = statement.where(opened.c.reason == wanted.reason)
        with translate_faults("pending"):
            found = self._connection.execute(statement.order_by(opened.c.due_at, opened.c.id).limit(limit + 1)).all()
            rows = tuple(PendingRow(row[0], row[1], PendingItem(row[2], row[3], row[4])) for row in found[:limit])
            if len(found) > limit:
                return PendingRows(rows, PendingCursor(rows[-1].item.due_at, rows[-1].update_id))
            # Fewer than asked for: the list ends here only if nothing lies behind what was looked at.
            last = self._connection.execute(_build_scan(wanted, after).offset(scanned - 1).limit(1)).first()
        return PendingRows(rows, PendingCursor(last.due_at, last.id) if last is not None else None)


def _build_scan(wanted: PendingFilter, after: PendingCursor | None) -> Select[Any]:
    columns: list[Any] = [KeyUpdateRow.id, KeyUpdateRow.security_domain_id, KeyUpdateRow.reason, KeyUpdateRow.due_at]
    statement = select(*columns).where(_IS_OPEN, build_released())
    if after is not None:
        place = tuple_(KeyUpdateRow.due_at, KeyUpdateRow.id)
        statement = statement.where(place > tuple_(after.due_at, after.update_id))
    if wanted.due_before is not None:
        statement = statement.where(KeyUpdateRow.due_at < wanted.due_before)
    return statement.order_by(KeyUpdateRow.due_at, KeyUpdateRow.id)


def _build_limits(wanted: PendingFilter) -> list[Any]:
    conditions: list[Any] = []
    spans = wanted.limits.cards
    if spans:
        inside = [and_(CardRow.identity >= span.first, CardRow.identity <= span.last) for span in spans]
        # Identities of another length sort in between: they are told apart by their length.
        lengths = [text(f"length(cards.identity) = {len(span.first)}") for span in spans]
        conditions.append(or_(false(), *(and_(*pair) for pair in zip(inside, lengths, strict=True))))
    if wanted.limits.aids:
        conditions.append(SecurityDomainRow.aid.in_(wanted.limits.aids))
    return conditions
