"""`kms.service.policy_ports.Sweeps`: statements over all key sets.

Rules: every statement goes along an index and writes at most `limit` rows. What the partial indexes are made for stands
in the statements as written in the models, not as parameters: a planner that does not see it cannot use them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Select,
    Table,
    and_,
    case,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from kms.db.faults import translate_faults
from kms.db.models import CardRow, KeySetRow, KeyUpdateRow, PolicyVersionRow, SecurityDomainRow
from kms.db.repositories.base import build_values
from kms.db.sql_ids import build_id_expression
from kms.db.sql_times import build_jitter, build_shifted
from kms.domain.policies import Policy, PolicyClass, PolicyVersion
from kms.domain.updates import KeyUpdate, UpdateReason, UpdateState
from kms.service.policy_ports import Asking, Batch, Reach, Undated

_SETS = cast("Table", KeySetRow.__table__).alias("k")
_DOMAINS = cast("Table", SecurityDomainRow.__table__).alias("d")
_CARDS = cast("Table", CardRow.__table__).alias("c")
_UPDATES = cast("Table", KeyUpdateRow.__table__).alias("u")
_ALL: FromClause = _SETS.join(_DOMAINS, _DOMAINS.c.id == _SETS.c.security_domain_id).join(
    _CARDS, _CARDS.c.id == _DOMAINS.c.card_id
)

_ON_CARD: ColumnElement[bool] = literal_column("k.state = 'ACTIVE' AND k.delivery = 'PROVED'")
_UNDATED: ColumnElement[bool] = literal_column("k.purpose IN ('isd', 'ssd') AND k.rotate_at IS NULL")
# Not the vendor's own keys, which no policy of ours dates.
_OURS: ColumnElement[bool] = literal_column("k.purpose IS NOT NULL")
_INITIAL = "k.purpose = 'ssd-initial'"
_OPEN: ColumnElement[bool] = literal_column("u.state IN ('PENDING', 'RUNNING')")
_GIVEN_UP: ColumnElement[bool] = literal_column("u.state IN ('FAILED', 'CANCELLED')")
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A proof that claims to be older is none: a zero, or a clock that was not set."""

_DAY = 86_400
_SEPARATOR = " "


class SqlSweeps:
    """The statements, on one transaction's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name

    def count_coming_due(self, reach: Reach, platform: str, untils: Sequence[datetime]) -> Sequence[int]:
        """For each time: served sets that the version would make due until then and that are not by their dates now."""
        rotates_at = self._build_rotation(reach.version.policy)
        counts = [
            func.count(
                case((and_(rotates_at <= until, or_(_SETS.c.rotate_at.is_(None), _SETS.c.rotate_at > until)), 1))
            )
            for until in untils
        ]
        coming = cast("Select[Any]", select(*counts)).select_from(_ALL)
        coming = coming.where(_ON_CARD, literal_column(f"NOT ({_INITIAL})"), _OURS)
        return list(self._find(coming.where(*_reached(reach), *_served(platform), _dated())))

    def settle(self, reach: Reach, after: str, limit: int) -> Batch:
        """Give the next sets in force that the version reaches the dates that follow from it."""
        last = self._find(
            select(_SETS.c.id).where(_ON_CARD, _SETS.c.id > after).order_by(_SETS.c.id).offset(limit - 1).limit(1)
        )
        chosen = select(_SETS.c.id).select_from(_ALL).where(_ON_CARD, _OURS, _SETS.c.id > after, _dated())
        if last is not None:
            chosen = chosen.where(_SETS.c.id <= last[0])
        version, policy = reach.version, reach.version.policy
        outdated = or_(_SETS.c.policy_id.is_(None), _SETS.c.policy_id != version.id)
        expires_at = self._build_expiry(policy, "key_sets")
        initial: ColumnElement[bool] = literal_column("key_sets.purpose = 'ssd-initial'")
        dates = update(KeySetRow).values(
            policy_id=version.id,
            expires_at=expires_at,
            rotate_at=case((initial, None), else_=self._build_rotation(policy, "key_sets")),
            noticed_days=case((KeySetRow.expires_at == expires_at, KeySetRow.noticed_days), else_=None),
        )
        rows = self._write(dates.where(KeySetRow.id.in_(chosen.where(outdated, *_reached(reach)))))
        return Batch(rows, None if last is None else last[0])

    def release_ended(self, limit: int) -> int:
        """Take the dates from sets in force whose policy ended and that no other reaches; how many."""
        chosen = _following_ended().limit(limit)
        gone = update(KeySetRow).where(KeySetRow.id.in_(chosen))
        return self._write(gone.values(policy_id=None, rotate_at=None, noticed_days=None))

    def is_settled(self) -> bool:
        """Whether no set in force follows from a version that ended."""
        return self._find(_following_ended().limit(1)) is None

    def ask_expiry(self, asking: Asking, now: datetime, after: str, scan: int, limit: int) -> Batch:
        """Ask for an update of each of the next `scan` due sets that has none open, at most `limit`."""
        start = _parse_place(after)
        due = [*_due(asking), *([] if start is None else [tuple_(_SETS.c.rotate_at, _SETS.c.id) > start])]
        in_order = (_SETS.c.rotate_at, _SETS.c.id)
        last = self._find(select(*in_order).where(*due).order_by(*in_order).offset(scan - 1).limit(1))
        if last is not None:
            due.append(tuple_(*in_order) <= tuple_(literal(last[0], _SETS.c.rotate_at.type), literal(last[1])))
        values = {
            **_build_blank(asking, now),
            "id": build_id_expression(self._dialect, now),
            "security_domain_id": _SETS.c.security_domain_id,
            "due_at": _SETS.c.rotate_at,
            "deadline": _SETS.c.expires_at,
        }
        chosen = select(*(value.label(name) for name, value in values.items())).select_from(_ALL)
        chosen = chosen.where(*due, *_served(asking.platform), _unasked(asking)).order_by(*in_order).limit(limit)
        insert = (postgresql if self._dialect == "postgresql" else sqlite).insert(KeyUpdateRow)
        # Two sets in force in one security domain, or an update asked for by hand meanwhile: one is enough.
        rows = self._write(insert.from_select(list(values), chosen).on_conflict_do_nothing())
        return Batch(rows, None if last is None else f"{last[0].isoformat()}{_SEPARATOR}{last[1]}")

    def count_waiting(self, asking: Asking) -> int:
        """Due sets without an open update: what `ask_expiry` without limits would ask for."""
        waiting = select(func.count()).select_from(_ALL)
        return self._count(waiting.where(*_due(asking), *_served(asking.platform), _unasked(asking)))

    def give_notice(self, version: PolicyVersion, platform: str, days: int, now: datetime, limit: int) -> int:
        """Mark served sets that end within so many days and were not marked for so few; how many."""
        chosen = select(_SETS.c.id).select_from(_ALL).where(*_ending(version, platform, days, now))
        chosen = chosen.where(or_(_SETS.c.noticed_days.is_(None), _SETS.c.noticed_days > days))
        marked = update(KeySetRow).values(noticed_days=days)
        return self._write(marked.where(KeySetRow.id.in_(chosen.limit(limit))))

    def count_noticed(self, version: PolicyVersion, platform: str, days: int, now: datetime) -> int:
        """Served sets in force that end within so many days and of which notice was given."""
        noticed = select(func.count()).select_from(_ALL).where(*_ending(version, platform, days, now))
        return self._count(noticed.where(_SETS.c.noticed_days.is_not(None)))

    def count_undated(self, platform: str) -> int:
        """Served sets in force whose due date nobody knows."""
        return self._count(select(func.count()).select_from(_ALL).where(_ON_CARD, _UNDATED, *_served(platform)))

    def list_undated(self, platform: str, *, limit: int = 100, offset: int = 0) -> Sequence[Undated]:
        """The same, one by one, oldest first."""
        columns = (_SETS.c.id.label("key_set_id"), _CARDS.c.identity.label("card"), _DOMAINS.c.aid, _SETS.c.proved_at)
        undated = select(*columns).select_from(_ALL).where(_ON_CARD, _UNDATED, *_served(platform))
        with translate_faults("key set"):
            rows = self._connection.execute(undated.order_by(_SETS.c.id).limit(limit).offset(offset)).mappings().all()
        return [Undated(**row) for row in rows]

    def _build_expiry(self, policy: Policy, table: str = "k") -> ColumnElement[datetime]:
        initial = f"{table}.purpose = 'ssd-initial'"
        days = f"CASE WHEN {initial} THEN {policy.initial_cryptoperiod_days} ELSE {policy.cryptoperiod_days} END"
        return build_shifted(self._dialect, f"{table}.proved_at", f"({days}) * {_DAY}")

    def _build_rotation(self, policy: Policy, table: str = "k") -> ColumnElement[datetime]:
        jitter = build_jitter(self._dialect, f"{table}.id", policy.jitter_days * _DAY)
        seconds = f"{(policy.cryptoperiod_days - policy.lead_days) * _DAY} - {jitter}"
        return build_shifted(self._dialect, f"{table}.proved_at", f"({seconds})")

    def _count(self, statement: Select[Any]) -> int:
        with translate_faults("key set"):
            return int(self._connection.execute(statement).scalar_one())

    def _find(self, statement: Select[Any]) -> Any:  # noqa: ANN401 - a row of whatever was selected
        with translate_faults("key set"):
            return self._connection.execute(statement).first()

    def _write(self, statement: Any) -> int:  # noqa: ANN401 - insert and update share no public type with a rowcount
        with translate_faults("key set"):
            # Kept for every statement: SQLAlchemy drops an INSERT's otherwise.
            return self._connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _in_class(chosen: PolicyClass) -> ColumnElement[bool]:
    conditions = [_DOMAINS.c.kind == chosen.kind]
    if chosen.aid_prefix:
        begins = func.substr(_DOMAINS.c.aid, 1, len(chosen.aid_prefix), type_=LargeBinary())
        conditions.append(begins == chosen.aid_prefix)
    if chosen.managed_by:
        conditions.append(_DOMAINS.c.managed_by == chosen.managed_by)
    if chosen.batch:
        conditions.append(_CARDS.c.batch == chosen.batch)
    return and_(*conditions)


def _reached(reach: Reach) -> list[ColumnElement[bool]]:
    return [_in_class(reach.version.policy.applies_to), *(not_(_in_class(inner)) for inner in reach.inner)]


def _served(platform: str) -> list[ColumnElement[bool]]:
    states: ColumnElement[bool] = literal_column("d.state = 'KEYED' AND c.state = 'ENROLLED'")
    return [states, _DOMAINS.c.managed_by == platform]


def _dated() -> ColumnElement[bool]:
    return _SETS.c.proved_at >= EARLIEST


def _due(asking: Asking) -> list[ColumnElement[bool]]:
    return [_ON_CARD, _SETS.c.policy_id == asking.version.id, _SETS.c.rotate_at <= asking.until, _dated()]


def _unasked(asking: Asking) -> ColumnElement[bool]:
    """Nothing is open for the security domain, and nothing was given up of late."""
    given_up = and_(_GIVEN_UP, _UPDATES.c.finished_at > asking.retry_since)
    asked = select(literal(1)).where(_UPDATES.c.security_domain_id == _SETS.c.security_domain_id, or_(_OPEN, given_up))
    return not_(asked.correlate(_SETS).exists())


def _build_blank(asking: Asking, now: datetime) -> dict[str, ColumnElement[Any]]:
    """An expiry update's columns with the values that they have in every one."""
    blank = KeyUpdate("", "", UpdateReason.EXPIRY, UpdateState.PENDING, now, asking.requested_by, now)
    return {
        name: null() if value is None else literal(value, _UPDATES.c[name].type)
        for name, value in build_values(blank).items()
    }


def _ending(version: PolicyVersion, platform: str, days: int, now: datetime) -> list[ColumnElement[bool]]:
    ends_at = now + timedelta(days=days)
    # A set rotates its lead time, or more, before its end: the first condition is what the index knows of the second.
    near = [_SETS.c.rotate_at <= ends_at - timedelta(days=version.policy.lead_days), _SETS.c.expires_at <= ends_at]
    return [_ON_CARD, _SETS.c.policy_id == version.id, *near, *_served(platform)]


def _following_ended() -> Select[Any]:
    ended = select(PolicyVersionRow.id).where(PolicyVersionRow.state == "ENDED")
    return select(_SETS.c.id).where(_ON_CARD, _SETS.c.policy_id.in_(ended))


def _parse_place(text: str) -> Any:  # noqa: ANN401 - a row value
    if not text:
        return None
    moment, _, key_set_id = text.partition(_SEPARATOR)
    return tuple_(literal(datetime.fromisoformat(moment), _SETS.c.rotate_at.type), literal(key_set_id))
