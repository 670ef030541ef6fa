"""Policies and what they asked for on each day."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Table, select
from sqlalchemy.dialects import postgresql, sqlite

from kms.db.faults import translate_faults
from kms.db.models import PolicyDayRow, PolicyVersionRow
from kms.db.repositories.base import SqlRepository
from kms.domain.policies import PolicyBook, PolicyState, PolicyVersion

_DAYS = cast("Table", PolicyDayRow.__table__)


class SqlPolicyRepository(SqlRepository[PolicyVersion]):
    """`kms.service.policy_ports.PolicyRepository`."""

    noun = "policy"
    model = PolicyVersionRow
    value = PolicyVersion

    def load_book(self) -> PolicyBook:
        """All versions in force, by name."""
        in_force = self._select().where(PolicyVersionRow.state == PolicyState.IN_FORCE)
        return PolicyBook(tuple(self._list(in_force.order_by(PolicyVersionRow.name))))

    def list_versions(self, name: str) -> Sequence[PolicyVersion]:
        """All versions of this name, the newest first."""
        mine = self._select().where(PolicyVersionRow.name == name)
        return self._list(mine.order_by(PolicyVersionRow.version.desc()))

    def count_asked(self, name: str, day: str) -> int:
        """How many expiry updates the policy asked for on a day."""
        asked = select(_DAYS.c.asked).where(_DAYS.c.name == name, _DAYS.c.day == day)
        with translate_faults(self.noun):
            return self._connection.execute(asked).scalar() or 0

    def add_asked(self, name: str, day: str, count: int) -> None:
        """Count more. Raises `visit.conflict` where another transaction counted meanwhile."""
        insert = (postgresql if self._connection.dialect.name == "postgresql" else sqlite).insert
        first = insert(_DAYS).values(name=name, day=day, asked=count)
        more = first.on_conflict_do_update(
            index_elements=[_DAYS.c.name, _DAYS.c.day], set_={"asked": _DAYS.c.asked + first.excluded.asked}
        )
        self._write(more)
