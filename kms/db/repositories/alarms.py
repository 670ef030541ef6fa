"""Alarms."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite

from kms.db.faults import translate_faults
from kms.db.models import AlarmRow
from kms.db.models.alarms import OPEN
from kms.db.repositories.base import SqlRepository, build_values
from kms.domain.alarms import Alarm


class SqlAlarmRepository(SqlRepository[Alarm]):
    """`kms.service.ports.AlarmRepository`."""

    noun = "alarm"
    model = AlarmRow
    value = Alarm

    def raise_(self, alarm: Alarm) -> Alarm:
        """Open the alarm, or count it in the one of its kind and subject that is open; what is stored now."""
        # One statement, so that two who see the same condition at once cannot both open one.
        insert = postgresql.insert if self._connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(self._table).values(build_values(alarm))
        statement = statement.on_conflict_do_update(
            index_elements=["kind", "subject"],
            index_where=OPEN,
            set_={
                "count": self._table.c.count + 1,
                "last_at": statement.excluded.last_at,
                "text": statement.excluded.text,
                "severity": statement.excluded.severity,
            },
        )
        with translate_faults(self.noun):
            row = self._connection.execute(statement.returning(*self._table.columns)).mappings().one()
        return Alarm(**row)

    def clear(self, kind: str, subject: str, at: datetime) -> bool:
        """Close the open alarm of this kind and subject; whether there was one."""
        statement = update(AlarmRow).where(AlarmRow.kind == kind, AlarmRow.subject == subject)
        return self._write(statement.where(AlarmRow.cleared_at.is_(None)).values(cleared_at=at)) > 0

    def list_open(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        """Read a page of the open alarms, oldest first."""
        statement = self._select().where(AlarmRow.cleared_at.is_(None)).order_by(AlarmRow.id)
        return self._list(statement.limit(limit).offset(offset))

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        """Read a page of all alarms, newest first."""
        return self._list(self._select().order_by(AlarmRow.id.desc()).limit(limit).offset(offset))
