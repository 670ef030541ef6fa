"""A compromised master and what is below it: marked and counted by statements over sets of rows.

Rules: a batch goes through security domains in the order of their ids and is whole: its key sets, visits, cards,
updates and transfers change together. What is marked already is not come to again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Select,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from kms.db.faults import translate_faults
from kms.db.models import CardRow, KeySetRow, KeyUpdateRow, SecurityDomainRow, TransferRow, VisitRow
from kms.db.repositories.campaign_filters import IN_FORCE, build_below, build_open, build_replaceable
from kms.db.sql_ids import build_id_expression
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.compromises import Affected, AffectedDomain, Marked, MasterUse, Remedy
from kms.domain.keys import Delivery, KeyState
from kms.domain.transfers import OPEN_TRANSFERS, TransferReason, TransferSide, TransferState
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState
from kms.domain.visits import VisitState

NOUN = "master key"
UNSETTLED = (Delivery.PLANNED, Delivery.IN_FLIGHT, Delivery.IN_DOUBT)
MARKABLE = (KeyState.PRE_ACTIVATION, KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED)
STANDING = (UpdateReason.INITIAL, UpdateReason.COMPROMISE)  # they bring new keys by themselves
WHY_CANCELLED = "the key set it would have run under is compromised"


class SqlCompromises:
    """`kms.service.ports.Compromises`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def mark(self, master_id: str, *, after: str, limit: int, at: datetime) -> Marked:
        """Mark what is below the master in the next security domains after `after`, at most `limit`."""
        with translate_faults(NOUN):
            domains = (
                self._connection.execute(
                    select(KeySetRow.security_domain_id)
                    .where(
                        KeySetRow.master_id == master_id,
                        KeySetRow.security_domain_id > after,
                        KeySetRow.state.in_(MARKABLE),
                    )
                    .group_by(KeySetRow.security_domain_id)
                    .order_by(KeySetRow.security_domain_id)
                    .limit(limit)
                )
                .scalars()
                .all()
            )
            if not domains:
                return Marked("")
            return self._mark(master_id, domains, at)

    def _mark(self, master_id: str, domains: Sequence[str], at: datetime) -> Marked:
        mine = KeySetRow.security_domain_id.in_(domains)
        sent = and_(KeySetRow.delivery.in_(UNSETTLED), func.length(KeySetRow.kcvs) > 0)
        may_be_in_force = or_(and_(KeySetRow.state == KeyState.ACTIVE, KeySetRow.delivery.in_(IN_FORCE)), sent)
        # Where a set of this master is or may come to be in force, nothing else in that security domain is to be
        # trusted: one on its way was sent under it, and which of two is in force nobody may ask it.
        open_to_others = (
            self._connection.execute(
                select(KeySetRow.security_domain_id)
                .where(mine, KeySetRow.master_id == master_id, KeySetRow.state.in_(MARKABLE), may_be_in_force)
                .distinct()
            )
            .scalars()
            .all()
        )
        beside = and_(KeySetRow.security_domain_id.in_(open_to_others), may_be_in_force)
        key_sets = self._run(
            update(KeySetRow)
            .where(mine, KeySetRow.state.in_(MARKABLE), or_(KeySetRow.master_id == master_id, beside))
            .values(state=KeyState.COMPROMISED)
        )
        cards = select(SecurityDomainRow.card_id).where(SecurityDomainRow.id.in_(domains))
        # A step of a visit that read the card before writes nothing, and no visit goes on under these keys.
        self._run(update(CardRow).where(CardRow.id.in_(cards)).values(version=CardRow.version + 1))
        visits = self._run(
            update(VisitRow)
            .where(VisitRow.state == VisitState.OPEN, VisitRow.card_id.in_(cards))
            .values(state=VisitState.FENCED, order=None, program=None, result=WHY_CANCELLED)
        )
        marked = select(KeySetRow.id).where(mine, KeySetRow.state == KeyState.COMPROMISED)
        still_open = KeyUpdateRow.state.in_(sorted(OPEN_STATES))
        concerned = KeyUpdateRow.security_domain_id.in_(domains)
        self._run(
            update(KeyUpdateRow)
            .where(concerned, still_open, KeyUpdateRow.new_key_set_id.in_(marked))
            .values(new_key_set_id=None)
        )
        lost = KeyUpdateRow.security_domain_id.in_(
            select(SecurityDomainRow.id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(SecurityDomainRow.id.in_(domains), build_below(master_id))
        )
        updates = self._run(
            update(KeyUpdateRow)
            .where(concerned, still_open, KeyUpdateRow.reason.not_in(STANDING), lost)
            .values(state=UpdateState.CANCELLED, finished_at=at, failure=WHY_CANCELLED)
        )
        transfers = self._run(self._build_transfers(master_id, domains, at))
        return Marked(domains[-1], len(domains), key_sets, visits, updates, transfers)

    def _build_transfers(self, master_id: str, domains: Sequence[str], at: datetime) -> Insert:
        """Requests to the issuers for new initial keys, each after the newest transfer of its security domain."""
        later, under_way = aliased(TransferRow), aliased(TransferRow)
        newest = ~exists().where(
            later.security_domain_id == TransferRow.security_domain_id,
            or_(
                later.requested_at > TransferRow.requested_at,
                and_(later.requested_at == TransferRow.requested_at, later.id > TransferRow.id),
            ),
        )
        gone_on_with = sorted(OPEN_TRANSFERS - {TransferState.CONTROLLED})
        waits = exists().where(
            under_way.security_domain_id == TransferRow.security_domain_id, under_way.state.in_(gone_on_with)
        )
        table = TransferRow.__table__.c
        new_id = build_id_expression(self._connection.dialect.name, at)
        values: dict[str, ColumnElement[Any]] = {
            "id": new_id,
            "side": literal(TransferSide.PROVIDER, table.side.type),
            "peer": table.peer,
            "reason": literal(TransferReason.REKEY, table.reason.type),
            "card_identity": table.card_identity,
            "aid": table.aid,
            "privileges": table.privileges,
            "key_type": table.key_type,
            "state": literal(TransferState.REQUESTED, table.state.type),
            "requested_at": literal(at, table.requested_at.type),
            "security_domain_id": table.security_domain_id,
            "session_id": literal(""),
            "refusal": literal(""),
        }
        columns = list(values.values())
        rows = (
            select(*columns)
            .join(SecurityDomainRow, SecurityDomainRow.id == TransferRow.security_domain_id)
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(
                TransferRow.side == TransferSide.PROVIDER,
                SecurityDomainRow.id.in_(domains),
                SecurityDomainRow.parent_id.is_(None),
                SecurityDomainRow.state == DomainState.KEYED,
                build_below(master_id),
                newest,
                ~waits,
            )
        )
        return insert(TransferRow).from_select(list(values), rows)

    def find_use(self, master_id: str) -> MasterUse:
        """Count what hangs on a master."""
        gone = or_(
            KeySetRow.delivery == Delivery.REPLACED,
            KeySetRow.state.in_((KeyState.DESTROYED,)),
        )
        never_sent = and_(KeySetRow.delivery == Delivery.PLANNED, func.length(KeySetRow.kcvs) == 0)
        kind = case((gone, "past"), (never_sent, "planned"), else_="live")
        statement = (
            select(kind.label("kind"), func.count(), func.max(KeySetRow.expires_at))
            .where(KeySetRow.master_id == master_id)
            .group_by(kind)
        )
        live_domains = (
            select(KeySetRow.security_domain_id)
            .where(KeySetRow.master_id == master_id, ~gone, ~never_sent)
            .scalar_subquery()
        )
        waiting = (
            select(func.count())
            .select_from(KeyUpdateRow)
            .where(KeyUpdateRow.state.in_(sorted(OPEN_STATES)), KeyUpdateRow.security_domain_id.in_(live_domains))
        )
        with translate_faults(NOUN):
            found = {row[0]: (row[1], row[2]) for row in self._connection.execute(statement)}
            open_updates = self._connection.execute(waiting).scalar_one()
        live, last_end = found.get("live", (0, None))
        return MasterUse(
            live, found.get("planned", (0, None))[0], found.get("past", (0, None))[0], open_updates, last_end
        )

    def count_affected(self, master_id: str, no_route: tuple[str, ...]) -> Affected:
        """Count the security domains below a compromised master by their remedy."""
        found = self._select_affected(master_id, no_route).subquery()
        statement = select(found.c.remedy, func.count()).group_by(found.c.remedy)
        with translate_faults(NOUN):
            return Affected({Remedy(name): count for name, count in self._connection.execute(statement)})

    def list_affected(
        self, master_id: str, no_route: tuple[str, ...], *, remedies: Sequence[Remedy], limit: int, offset: int
    ) -> Sequence[AffectedDomain]:
        """Read a page of them, by card identity."""
        found = self._select_affected(master_id, no_route).subquery()
        statement = select(found)
        if remedies:
            statement = statement.where(found.c.remedy.in_([str(item) for item in remedies]))
        with translate_faults(NOUN):
            rows = self._connection.execute(
                statement.order_by(found.c.card, found.c.aid).limit(limit).offset(offset)
            ).all()
        return [AffectedDomain(row.card, row.aid, row.kind, Remedy(row.remedy)) for row in rows]

    def _select_affected(
        self, master_id: str, no_route: tuple[str, ...]
    ) -> Select[tuple[bytes, bytes, DomainKind, str]]:
        good = aliased(KeySetRow)
        replaced = exists().where(
            good.security_domain_id == SecurityDomainRow.id,
            good.state == KeyState.ACTIVE,
            good.delivery.in_(IN_FORCE),
        )
        remedy = case(
            (SecurityDomainRow.state == DomainState.HANDED_OVER, Remedy.NOT_KEYED.value),
            (replaced, Remedy.DONE.value),
            (CardRow.state != CardState.ENROLLED, Remedy.SET_ASIDE.value),
            (SecurityDomainRow.kind == DomainKind.ISD, Remedy.ISD.value),
            (SecurityDomainRow.state != DomainState.KEYED, Remedy.NOT_KEYED.value),
            (and_(build_open(), build_replaceable(no_route)), Remedy.CAMPAIGN.value),
            (
                and_(SecurityDomainRow.parent_id.is_(None), ~build_replaceable(no_route)),
                Remedy.NO_ISSUER.value,
            ),
            (build_replaceable(no_route), Remedy.FAILED.value),
            else_=Remedy.NO_ROUTE.value,
        )
        marked = aliased(KeySetRow)
        below = exists().where(
            marked.master_id == master_id,
            marked.security_domain_id == SecurityDomainRow.id,
            marked.state == KeyState.COMPROMISED,
        )
        return (
            select(
                CardRow.identity.label("card"),
                SecurityDomainRow.aid.label("aid"),
                SecurityDomainRow.kind.label("kind"),
                remedy.label("remedy"),
            )
            .join(CardRow, CardRow.id == SecurityDomainRow.card_id)
            .where(below)
        )

    def _run(self, statement: Executable) -> int:
        # Without the option SQLAlchemy forgets how many rows an INSERT ... SELECT wrote.
        return self._connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
