"""Campaigns: filled, counted and cancelled by statements over sets of rows, in bounded batches."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Insert, and_, case, func, insert, literal, select, update

from kms.db.faults import translate_faults
from kms.db.models import CampaignRow, CardRow, KeyUpdateRow, SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.db.repositories.campaign_filters import build_condition, build_open
from kms.db.sql_ids import build_id_expression
from kms.domain.campaigns import Campaign, CampaignCounts, CampaignState, Filled
from kms.domain.updates import OPEN_STATES, UpdateState


class SqlCampaignRepository(SqlRepository[Campaign]):
    """`kms.service.ports.CampaignRepository`."""

    noun = "campaign"
    model = CampaignRow
    value = Campaign

    def find_by_name(self, name: str) -> Campaign | None:
        """Read the campaign of this name."""
        return self._find_one(self._select().where(CampaignRow.name == name))

    def list_in(self, states: Sequence[CampaignState]) -> Sequence[Campaign]:
        """Read the campaigns in these states, oldest first."""
        statement = self._select().where(CampaignRow.state.in_(sorted(states)))
        return self._list(statement.order_by(CampaignRow.created_at, CampaignRow.id))

    def count_matching(self, campaign: Campaign) -> Filled:
        """Count what filling would come to, without writing."""
        matched = self._count(build_condition(campaign))
        waiting = self._count(and_(build_condition(campaign), build_open()))
        return Filled("", matched, matched - waiting)

    def fill(self, campaign: Campaign, *, due_at: datetime, limit: int, at: datetime) -> Filled:
        """Add updates for the next security domains after the campaign's cursor, at most `limit`."""
        found = (
            select(SecurityDomainRow.id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(SecurityDomainRow.id > campaign.cursor, build_condition(campaign))
            .order_by(SecurityDomainRow.id)
            .limit(limit)
            .subquery()
        )
        with translate_faults(self.noun):
            last, matched = self._connection.execute(
                select(func.max(found.c.id), func.count()).select_from(found)
            ).one()
            if last is None:
                return Filled("", 0, 0)
            # Without the option SQLAlchemy forgets how many rows an INSERT ... SELECT wrote.
            statement = self._build_insert(campaign, last, due_at, at).execution_options(preserve_rowcount=True)
            added = self._connection.execute(statement).rowcount
        return Filled(last, matched, added)

    def _build_insert(self, campaign: Campaign, last: str, due_at: datetime, at: datetime) -> Insert:
        table = KeyUpdateRow.__table__.c
        values: dict[str, object] = {
            "reason": campaign.reason,
            "state": UpdateState.PENDING,
            "requested_at": at,
            "requested_by": campaign.created_by,
            "due_at": due_at,
            "attempts": 0,
            "failure": "",
            "failure_code": "",
            "past_end": False,
            "past_end_reason": "",
            "deadline": campaign.deadline,
            "campaign_id": campaign.id,
            "key_type": campaign.key_type,
        }
        columns = [literal(value, table[name].type) for name, value in values.items()]
        rows = (
            select(build_id_expression(self._connection.dialect.name, at), SecurityDomainRow.id, *columns)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(SecurityDomainRow.id > campaign.cursor, SecurityDomainRow.id <= last)
            .where(build_condition(campaign), ~build_open())
        )
        return insert(KeyUpdateRow).from_select(["id", "security_domain_id", *values], rows)

    def count_updates(self, campaign_id: str, now: datetime) -> CampaignCounts:
        """Count the campaign's updates by state, with the dates that its report shows, in one statement."""
        table = KeyUpdateRow
        overdue = func.sum(case((and_(table.state.in_(sorted(OPEN_STATES)), table.deadline <= now), 1), else_=0))
        statement = (
            select(table.state, func.count(), func.min(table.requested_at), func.max(table.finished_at), overdue)
            .where(table.campaign_id == campaign_id)
            .group_by(table.state)
        )
        with translate_faults(self.noun):
            rows = self._connection.execute(statement).all()
        by_state = {state: count for state, count, *_ in rows}
        oldest = [first for state, _, first, *_ in rows if state in OPEN_STATES]
        finished = [last for *_, last, _ in rows if last is not None]
        late = sum(int(row[-1]) for row in rows)
        return CampaignCounts(by_state, min(oldest, default=None), max(finished, default=None), late)

    def cancel_pending(self, campaign_id: str, *, at: datetime, why: str, limit: int) -> int:
        """Cancel at most `limit` updates of the campaign that no visit has begun; returns how many."""
        chosen = (
            select(KeyUpdateRow.id)
            .where(KeyUpdateRow.campaign_id == campaign_id, KeyUpdateRow.state == UpdateState.PENDING)
            .order_by(KeyUpdateRow.id)
            .limit(limit)
        )
        values = {"state": UpdateState.CANCELLED, "finished_at": at, "failure": why}
        return self._write(update(KeyUpdateRow).where(KeyUpdateRow.id.in_(chosen)).values(values))

    def _count(self, condition: ColumnElement[bool]) -> int:
        statement = (
            select(func.count())
            .select_from(SecurityDomainRow)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(condition)
        )
        with translate_faults(self.noun):
            return self._connection.execute(statement).scalar_one()
