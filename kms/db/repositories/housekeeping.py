"""Keeping house in sets: each method a few statements, whatever the number of rows."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, case, delete, func, insert, select, text, update

from kms.db.faults import translate_faults
from kms.db.models import (
    AlarmRow,
    CardRow,
    KeySetRow,
    KeyUpdateRow,
    SecurityDomainRow,
    VisitEventRow,
    VisitRow,
)
from kms.domain.housekeeping import DoubtedSet, ExpiredVisits, FleetFigures, Overdue
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateState
from kms.domain.visits import VisitState

NOUN = "visit"
DONE = "done"  # the result of a visit that left nothing to do
# As the partial indexes have them: a planner that sees a parameter in their place cannot use the index.
OPEN = text("key_updates.state IN ('PENDING', 'RUNNING')")
IN_FORCE = text("key_sets.state = 'ACTIVE' AND key_sets.delivery = 'PROVED'")
UNPROVED = text("key_sets.delivery IN ('IN_DOUBT', 'IN_FLIGHT')")
QUARANTINED = text("cards.state = 'QUARANTINED'")
OVER = sorted(set(VisitState) - {VisitState.OPEN})


class SqlHousekeepingRepository:
    """`kms.service.ports.HousekeepingRepository`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def expire_visits(self, before: datetime, at: datetime, why: str, limit: int) -> ExpiredVisits:
        """End OPEN visits whose deadline was before that, and what hung on them. Raises `visit.conflict`."""
        with translate_faults(NOUN):
            return self._expire_visits(before, at, why, limit)

    def _expire_visits(self, before: datetime, at: datetime, why: str, limit: int) -> ExpiredVisits:
        chosen = (
            select(VisitRow.id, VisitRow.card_id, VisitRow.update_id, VisitRow.events)
            .where(VisitRow.state == VisitState.OPEN, VisitRow.deadline < before)
            .order_by(VisitRow.deadline)
            .limit(limit)
        )
        visits = self._connection.execute(chosen).all()
        if not visits:
            return ExpiredVisits()
        ids, card_ids = [row.id for row in visits], sorted({row.card_id for row in visits})
        # Claimed like any step of a visit: one that read these cards before writes nothing, and looks anew.
        self._connection.execute(update(CardRow).where(CardRow.id.in_(card_ids)).values(version=CardRow.version + 1))
        # What was wrapped is erased with the visit (DESIGN section 4).
        over = {"state": VisitState.EXPIRED, "order": None, "program": None, "result": why, "ended_at": at}
        self._connection.execute(
            update(VisitRow).where(VisitRow.id.in_(ids)).values(**over, events=VisitRow.events + 1)
        )
        events = [
            {"visit_id": row.id, "number": row.events + 1, "at": at, "kind": "expire", "text": why} for row in visits
        ]
        self._connection.execute(insert(VisitEventRow), events)
        update_ids = self._return_updates([row.update_id for row in visits if row.update_id is not None], why)
        return ExpiredVisits(tuple(ids), self._doubt_sets(card_ids), update_ids)

    def _return_updates(self, update_ids: list[str], why: str) -> tuple[str, ...]:
        """RUNNING updates of these go back to PENDING, unless another visit works on them."""
        taken = select(VisitRow.update_id).where(VisitRow.state == VisitState.OPEN, VisitRow.update_id.is_not(None))
        statement = (
            update(KeyUpdateRow)
            .where(
                KeyUpdateRow.id.in_(update_ids),
                KeyUpdateRow.state == UpdateState.RUNNING,
                KeyUpdateRow.id.not_in(taken),
            )
            .values(state=UpdateState.PENDING, failure=why)
            .returning(KeyUpdateRow.id)
        )
        return tuple(sorted(self._connection.execute(statement).scalars()))

    def _doubt_sets(self, card_ids: list[str]) -> tuple[DoubtedSet, ...]:
        """What is in flight on these cards is in doubt, unless another visit of the card may still prove it."""
        visited = select(VisitRow.card_id).where(VisitRow.state == VisitState.OPEN, VisitRow.card_id.in_(card_ids))
        rows = self._connection.execute(
            select(
                KeySetRow.id,
                KeySetRow.kvn,
                KeySetRow.generation,
                KeySetRow.kcvs,
                KeySetRow.kcv_method,
                SecurityDomainRow.aid,
                SecurityDomainRow.kind,
                CardRow.identity,
            )
            .join(SecurityDomainRow, SecurityDomainRow.id == KeySetRow.security_domain_id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(
                SecurityDomainRow.card_id.in_(card_ids),
                SecurityDomainRow.card_id.not_in(visited),
                KeySetRow.delivery == Delivery.IN_FLIGHT,
            )
            .order_by(KeySetRow.id)
        ).all()
        if rows:
            changed = update(KeySetRow).where(KeySetRow.id.in_([row.id for row in rows]))
            self._connection.execute(changed.values(delivery=Delivery.IN_DOUBT))
        return tuple(
            DoubtedSet(
                row.id,
                row.kcv_method,
                row.kcvs,
                f"card {row.identity.hex().upper()}; {row.kind} {row.aid.hex().upper()}, key version {row.kvn:02X}, "
                f"generation {row.generation}",
            )
            for row in rows
        )

    def delete_visits(self, before: datetime, limit: int) -> int:
        """Delete visits that are over, with their journals, whose deadline was before that; how many.

        Those in which a card cryptogram fitted no known set stay: they are evidence.
        """
        chosen = (
            select(VisitRow.id)
            .where(VisitRow.state.in_(OVER), VisitRow.deadline < before, VisitRow.mismatches == 0)
            .order_by(VisitRow.deadline)
            .limit(limit)
        )
        with translate_faults(NOUN):
            ids = self._connection.execute(chosen).scalars().all()
            if ids:
                self._connection.execute(delete(VisitEventRow).where(VisitEventRow.visit_id.in_(ids)))
                self._connection.execute(delete(VisitRow).where(VisitRow.id.in_(ids)))
        return len(ids)

    def count_overdue(self, now: datetime) -> Overdue:
        """Count what is past its deadline or end."""
        updates = select(func.count(), func.min(KeyUpdateRow.deadline)).where(OPEN, KeyUpdateRow.deadline < now)
        sets = select(func.count(), func.min(KeySetRow.expires_at)).where(IN_FORCE, KeySetRow.expires_at < now)
        with translate_faults(NOUN):
            late, oldest_deadline = self._connection.execute(updates).one()
            past, oldest_end = self._connection.execute(sets).one()
        return Overdue(late, oldest_deadline, past, oldest_end)

    def read_figures(self, now: datetime) -> FleetFigures:
        """Count the platform's rows: eight aggregate statements."""
        is_done = case((VisitRow.result == DONE, DONE), else_="")
        doubtful = select(KeySetRow.delivery, func.count()).where(UNPROVED)
        quarantined = select(func.count()).select_from(CardRow).where(QUARANTINED)
        alarms = select(AlarmRow.severity, func.count()).where(AlarmRow.cleared_at.is_(None))
        with translate_faults(NOUN):
            deliveries = self._count(doubtful.group_by(KeySetRow.delivery))
            return FleetFigures(
                updates=self._count(
                    select(KeyUpdateRow.reason, KeyUpdateRow.state, func.count()).group_by(
                        KeyUpdateRow.reason, KeyUpdateRow.state
                    )
                ),
                visits=self._count(select(VisitRow.state, is_done, func.count()).group_by(VisitRow.state, is_done)),
                overdue=self.count_overdue(now),
                quarantined=self._connection.execute(quarantined).scalar_one(),
                in_doubt=deliveries.get(str(Delivery.IN_DOUBT), 0),
                in_flight=deliveries.get(str(Delivery.IN_FLIGHT), 0),
                alarms=self._count(alarms.group_by(AlarmRow.severity)),
            )

    def _count(self, statement: Executable) -> dict[Any, int]:
        rows = self._connection.execute(statement).all()
        return {str(row[0]) if len(row) == 2 else tuple(str(key) for key in row[:-1]): row[-1] for row in rows}
