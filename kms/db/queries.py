"""Lists for people: rows over several tables, newest first, read straight from the models.

Rules: reading only; rows are mappings by column name with the domain's value types. Use cases go through repositories.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from kms.db.faults import translate_faults
from kms.db.models import (
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
from kms.domain.transfers import OPEN_TRANSFERS
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState

Row = Mapping[str, object]


@dataclass(frozen=True)
class UpdateSelection:
    """Which key updates a list shows: all that is given must hold. `overdue_at`: open and past their deadline then."""

    states: Collection[UpdateState] = ()
    reasons: Collection[UpdateReason] = ()
    campaign: str | None = None
    overdue_at: datetime | None = None


ALL_UPDATES = UpdateSelection()


class SqlQueries:
    """The lists, on one transaction's connection. `card`: a card identity to which a list is narrowed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_cards(self, *, limit: int, offset: int) -> Sequence[Row]:
        """Cards with the number of their security domains and open updates."""
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
        return self._read(statement.order_by(CardRow.id.desc()), limit, offset)

    def list_security_domains(self, *, limit: int, offset: int, card: bytes | None = None) -> Sequence[Row]:
        """Security domains with their card's identity."""
        statement = select(CardRow.identity.label("card"), *SecurityDomainRow.__table__.columns).join(
            CardRow, CardRow.id == SecurityDomainRow.card_id
        )
        return self._read(_narrow(statement, card).order_by(SecurityDomainRow.id.desc()), limit, offset)

    def list_key_sets(self, *, security_domain_id: str) -> Sequence[Row]:
        """The key sets of a security domain with the name of the master they are derived from."""
        statement = (
            select(*KeySetRow.__table__.columns, MasterKeyRow.name.label("master"))
            .join(MasterKeyRow, MasterKeyRow.id == KeySetRow.master_id)
            .where(KeySetRow.security_domain_id == security_domain_id)
            .order_by(KeySetRow.created_at.desc(), KeySetRow.id.desc())
        )
        return self._read(statement, 1000, 0)

    def list_key_updates(
        self, *, limit: int, offset: int, card: bytes | None = None, only: UpdateSelection = ALL_UPDATES
    ) -> Sequence[Row]:
        """Key updates with their card's identity, their security domain's AID and their campaign's name."""
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
        if only.states:
            statement = statement.where(KeyUpdateRow.state.in_(sorted(only.states)))
        if only.reasons:
            statement = statement.where(KeyUpdateRow.reason.in_(sorted(only.reasons)))
        if only.overdue_at is not None:
            statement = statement.where(
                KeyUpdateRow.state.in_(sorted(OPEN_STATES)), KeyUpdateRow.deadline <= only.overdue_at
            )
        if only.campaign is not None:
            statement = statement.where(CampaignRow.name == only.campaign)
        return self._read(_narrow(statement, card).order_by(KeyUpdateRow.id.desc()), limit, offset)

    def list_visits(self, *, limit: int, offset: int, card: bytes | None = None) -> Sequence[Row]:
        """Visits with their card's identity and their terminal's name; without orders and program states."""
        hidden = {"order", "program", "report_digest"}
        columns = [column for column in VisitRow.__table__.columns if column.name not in hidden]
        statement = (
            select(CardRow.identity.label("card"), TerminalRow.name.label("terminal"), *columns)
            .join(CardRow, CardRow.id == VisitRow.card_id)
            .join(TerminalRow, TerminalRow.id == VisitRow.terminal_id)
        )
        return self._read(_narrow(statement, card).order_by(VisitRow.id.desc()), limit, offset)

    def list_transfers(
        self,
        *,
        limit: int,
        offset: int,
        card: bytes | None = None,
        peer: str | None = None,
        only_open: bool = False,
    ) -> Sequence[Row]:
        """Transfers of either side, without the envelopes that a provider keeps."""
        statement = select(*(column for column in TransferRow.__table__.columns if column.name != "envelope"))
        if card is not None:
            statement = statement.where(TransferRow.card_identity == card)
        if peer is not None:
            statement = statement.where(TransferRow.peer == peer)
        if only_open:
            statement = statement.where(TransferRow.state.in_(sorted(OPEN_TRANSFERS)))
        return self._read(statement.order_by(TransferRow.requested_at.desc(), TransferRow.id), limit, offset)

    def _read(self, statement: Select[Any], limit: int, offset: int) -> Sequence[Row]:
        with translate_faults("list"):
            rows = self._connection.execute(statement.limit(limit).offset(offset)).mappings().all()
        return [dict(row) for row in rows]


def _narrow(statement: Select[Any], card: bytes | None) -> Select[Any]:
    return statement if card is None else statement.where(CardRow.identity == card)
