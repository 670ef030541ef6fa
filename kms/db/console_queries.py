"""What the console's pages read over several tables: searches, histories and figures, page by page.

Rules: reading only. A page is found by where the last one ended, never by counting rows, so that page 10,000 costs what
page 1 costs; identifiers are time-ordered. What goes along an index names it; `count_outcomes` and `count_dependants`
read all that there is, so whoever asks keeps their answers for a while.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal, select, text, tuple_

from kms.db.faults import translate_faults
from kms.db.models import (
    AuditEventRow,
    CampaignRow,
    CardRow,
    KeySetRow,
    KeyUpdateRow,
    MasterKeyRow,
    SecurityDomainRow,
    TerminalRow,
    TransferRow,
    VisitRow,
)
from kms.domain.audit import AuditEvent
from kms.domain.cards import CardState
from kms.domain.keys import Delivery, KeyState
from kms.domain.transfers import OPEN_TRANSFERS
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState

Row = Mapping[str, Any]
MAX_IDENTITY = 32  # bytes
_EVENT = [AuditEventRow.__table__.c[name] for name in AuditEvent.__dataclass_fields__]
_SETS, _UPDATES = KeySetRow.__table__.c, KeyUpdateRow.__table__.c
_IN_FORCE = and_(_SETS.state == KeyState.ACTIVE, _SETS.delivery == Delivery.PROVED)
_UNPROVED = (Delivery.IN_DOUBT, Delivery.IN_FLIGHT)


class SqlConsoleQueries:
    """The pages' statements, on one transaction's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search_cards(
        self,
        *,
        begins: bytes = b"",
        state: CardState | None = None,
        batch: str = "",
        in_doubt: bool = False,
        before: str = "",
        limit: int = 50,
    ) -> Sequence[Row]:
        """Cards, the newest first, with numbers of security domains and open updates.

        `begins`: how the identity begins (its unique index). `in_doubt`: with a key set that may or may not be on the
        card (ix_key_sets_unproved). `before`: the id of the last card of the page before (the primary key).
        """
        domains = (
            select(func.count()).where(SecurityDomainRow.card_id == CardRow.id).correlate(CardRow).scalar_subquery()
        )
        updates = (
            select(func.count())
            .select_from(KeyUpdateRow)
            .join(SecurityDomainRow, SecurityDomainRow.id == KeyUpdateRow.security_domain_id)
            .where(SecurityDomainRow.card_id == CardRow.id, KeyUpdateRow.state.in_(sorted(OPEN_STATES)))
            .correlate(CardRow)
            .scalar_subquery()
        )
        columns = CardRow.__table__.columns
        statement = select(*columns, domains.label("security_domains"), updates.label("open_updates"))
        if begins:
            highest = begins + b"\xff" * (MAX_IDENTITY - len(begins))
            statement = statement.where(CardRow.identity >= begins, CardRow.identity <= highest)
        if state is not None:
            statement = statement.where(CardRow.state == state)
        if batch:
            statement = statement.where(CardRow.batch == batch)
        if in_doubt:
            doubted = (
                select(SecurityDomainRow.card_id)
                .join(KeySetRow, KeySetRow.security_domain_id == SecurityDomainRow.id)
                .where(KeySetRow.delivery == Delivery.IN_DOUBT)
            )
            statement = statement.where(CardRow.id.in_(doubted))
        if before:
            statement = statement.where(CardRow.id < before)
        return self._read(statement.order_by(CardRow.id.desc()).limit(limit))

    def list_key_sets(self, card_id: str) -> Sequence[Row]:
        """Every key set that a card's security domains ever had, the newest first, with its master's name."""
        statement = (
            select(
                *KeySetRow.__table__.columns,
                SecurityDomainRow.aid,
                MasterKeyRow.name.label("master"),
                MasterKeyRow.generation.label("master_generation"),
            )
            .join(SecurityDomainRow, SecurityDomainRow.id == KeySetRow.security_domain_id)
            .join(MasterKeyRow, MasterKeyRow.id == KeySetRow.master_id)
            .where(SecurityDomainRow.card_id == card_id)
        )
        return self._read(statement.order_by(KeySetRow.id.desc()).limit(1000))

    def search_updates(
        self,
        *,
        card_id: str = "",
        states: Collection[UpdateState] = (),
        reason: UpdateReason | None = None,
        campaign: str = "",
        overdue_at: datetime | None = None,
        before: str = "",
        limit: int = 50,
    ) -> Sequence[Row]:
        """Key updates, the newest first, with card, AID and campaign. `overdue_at`: past their deadline then.

        `before`: the id of the last of the page before (the primary key).
        """
        statement = (
            select(
                CardRow.identity.label("card"),
                SecurityDomainRow.aid,
                SecurityDomainRow.kind,
                *KeyUpdateRow.__table__.columns,
                CampaignRow.name.label("campaign"),
            )
            .join(SecurityDomainRow, SecurityDomainRow.id == KeyUpdateRow.security_domain_id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .outerjoin(CampaignRow, CampaignRow.id == KeyUpdateRow.campaign_id)
        )
        if card_id:
            statement = statement.where(SecurityDomainRow.card_id == card_id)
        if states:
            statement = statement.where(KeyUpdateRow.state.in_(sorted(states)))
        if reason is not None:
            statement = statement.where(KeyUpdateRow.reason == reason)
        if campaign:
            statement = statement.where(CampaignRow.name == campaign)
        if overdue_at is not None:
            # Written out as ix_key_updates_deadline has it: with parameters the index would not be taken.
            is_open = text("key_updates.state IN ('PENDING', 'RUNNING')")
            statement = statement.where(is_open, KeyUpdateRow.deadline <= overdue_at)
        if before:
            statement = statement.where(KeyUpdateRow.id < before)
        return self._read(statement.order_by(KeyUpdateRow.id.desc()).limit(limit))

    def list_visits(self, *, card_id: str = "", terminal_id: str = "", limit: int = 20) -> Sequence[Row]:
        """A card's or terminal's visits, the newest first; without orders and program states."""
        hidden = {"order", "program", "report_digest"}
        columns = [column for column in VisitRow.__table__.columns if column.name not in hidden]
        statement = (
            select(CardRow.identity.label("card"), TerminalRow.name.label("terminal"), *columns)
            .join(CardRow, CardRow.id == VisitRow.card_id)
            .join(TerminalRow, TerminalRow.id == VisitRow.terminal_id)
        )
        if card_id:
            statement = statement.where(VisitRow.card_id == card_id)
        if terminal_id:
            statement = statement.where(VisitRow.terminal_id == terminal_id)
        return self._read(statement.order_by(VisitRow.id.desc()).limit(limit))

    def count_transfers(self) -> Sequence[Row]:
        """Transfers by peer: all, and those that are open."""
        is_open = case((TransferRow.state.in_(sorted(OPEN_TRANSFERS)), 1), else_=0)
        columns: list[Any] = [TransferRow.peer, func.count().label("all"), func.sum(is_open).label("open")]
        return self._read(select(*columns).group_by(TransferRow.peer).order_by(TransferRow.peer))

    def count_ends(self, bounds: Sequence[datetime]) -> Sequence[int]:
        """Key sets in force by their end: before the first bound, then between each two (ix_key_sets_ends)."""
        return self._count_between(_SETS.expires_at, bounds, _IN_FORCE)

    def count_outcomes(self, bounds: Sequence[datetime]) -> Mapping[UpdateState, Sequence[int]]:
        """Updates that were DONE, FAILED or CANCELLED between each two bounds; reads all that ended."""
        found: dict[UpdateState, Sequence[int]] = {}
        for state in (UpdateState.DONE, UpdateState.FAILED, UpdateState.CANCELLED):
            within = and_(_UPDATES.state == state, _UPDATES.finished_at >= bounds[0])
            found[state] = self._count_between(_UPDATES.finished_at, bounds, within)[1:]
        return found

    def count_dependants(self) -> Mapping[str, Mapping[str, int]]:
        """Key sets below each master by `live` (in force or on their way), `planned` and `past`; by the master's id."""
        live = case((_SETS.delivery.in_((Delivery.PROVED, Delivery.FACTORY, *_UNPROVED)), 1), else_=0)
        planned = case((_SETS.delivery == Delivery.PLANNED, 1), else_=0)
        columns = (_SETS.master_id, func.sum(live), func.sum(planned), func.count())
        with translate_faults("list"):
            rows = self._connection.execute(select(*columns).group_by(_SETS.master_id)).all()
        return {
            master: {"live": int(lives), "planned": int(plans), "past": int(count - lives - plans)}
            for master, lives, plans, count in rows
        }

    def search_audit(
        self,
        *,
        actor: str = "",
        action: str = "",
        subject: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, str, int] | None = None,
        limit: int = 100,
    ) -> Sequence[Row]:
        """Audit events, the newest first, with their place in their chain (ix_audit_events_at).

        `actor`: a part of it; `action`, `subject`: how they begin. `before`: time, chain and sequence of the last event
        of the page before.
        """
        events = AuditEventRow.__table__.c
        wanted: list[ColumnElement[bool]] = []
        if actor:
            wanted.append(events.actor.icontains(actor, autoescape=True))
        for column, start in ((events.action, action), (events.subject, subject)):
            if start:
                wanted.append(column.startswith(start, autoescape=True))
        if since is not None:
            wanted.append(events.at >= since)
        if until is not None:
            wanted.append(events.at < until)
        if before is not None:
            at, chain, sequence = before
            place = tuple_(literal(at, events.at.type), literal(chain), literal(sequence))
            wanted.append(tuple_(events.at, events.chain, events.sequence) < place)
        newest = (events.at.desc(), events.chain.desc(), events.sequence.desc())
        return self._read(select(events.chain, events.sequence, *_EVENT).where(*wanted).order_by(*newest).limit(limit))

    def _count_between(
        self, column: ColumnElement[Any], bounds: Sequence[datetime], within: ColumnElement[bool]
    ) -> Sequence[int]:
        moments = [literal(bound, column.type) for bound in bounds]
        first = func.sum(case((column < moments[0], 1), else_=0))
        spans = [func.sum(case((and_(column >= start, column < end), 1), else_=0)) for start, end in pairwise(moments)]
        statement = select(first, *spans).where(within, column < moments[-1])
        with translate_faults("list"):
            return [int(count or 0) for count in self._connection.execute(statement).one()]

    def _read(self, statement: Select[Any]) -> Sequence[Row]:
        with translate_faults("list"):
            return [dict(row) for row in self._connection.execute(statement).mappings().all()]
