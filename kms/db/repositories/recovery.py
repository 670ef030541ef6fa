"""The platform's condition, repair orders, and what was found on cards."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update

from kms.db.faults import translate_faults
from kms.db.models import KeyFindingRow, PlatformStateRow, RepairOrderRow
from kms.db.repositories.base import SqlRepository
from kms.domain.recovery import KeyFinding, PlatformState, RepairOrder, RepairState


class SqlPlatformStateRepository(SqlRepository[PlatformState]):
    """`kms.service.ports.PlatformStateRepository`."""

    noun = "platform state"
    model = PlatformStateRow
    value = PlatformState

    def find_current(self) -> PlatformState | None:
        """Read the one row; None while nothing was ever found behind."""
        return self._find_one(self._select())


class SqlRepairOrderRepository(SqlRepository[RepairOrder]):
    """`kms.service.ports.RepairOrderRepository`."""

    noun = "repair order"
    model = RepairOrderRow
    value = RepairOrder

    def find_open(self, card_id: str) -> RepairOrder | None:
        """Read the card's OPEN order."""
        return self._find_one(
            self._select().where(RepairOrderRow.card_id == card_id, RepairOrderRow.state == RepairState.OPEN)
        )

    def find_newest(self, card_id: str) -> RepairOrder | None:
        """Read the card's newest order, of any state."""
        return self._find_one(
            self._select().where(RepairOrderRow.card_id == card_id).order_by(RepairOrderRow.id.desc())
        )


class SqlKeyFindingRepository(SqlRepository[KeyFinding]):
    """`kms.service.ports.KeyFindingRepository`."""

    noun = "finding"
    model = KeyFindingRow
    value = KeyFinding

    def list_for_order(self, repair_order_id: str) -> Sequence[KeyFinding]:
        """Read what a repair order's visits found, oldest first."""
        return self._list(
            self._select().where(KeyFindingRow.repair_order_id == repair_order_id).order_by(KeyFindingRow.id)
        )

    def list_of_recovery(self, since: datetime, *, limit: int = 100, offset: int = 0) -> Sequence[KeyFinding]:
        """Read a page of what recovery found since then, oldest first."""
        mine = (KeyFindingRow.repair_order_id.is_(None), KeyFindingRow.found_at >= since)
        return self._list(self._select().where(*mine).order_by(KeyFindingRow.id).limit(limit).offset(offset))

    def mark_applied(self, repair_order_id: str, at: datetime) -> None:
        """Record that the records were set to what the order's visits found."""
        self._write(update(KeyFindingRow).where(KeyFindingRow.repair_order_id == repair_order_id).values(applied_at=at))

    def count_by_kind(self, since: datetime) -> dict[str, int]:
        """How many findings of each kind recovery made since then."""
        columns = KeyFindingRow.__table__.c
        counted = select(columns.kind, func.count()).where(columns.repair_order_id.is_(None), columns.found_at >= since)
        with translate_faults(self.noun):
            return {str(kind): int(count) for kind, count in self._connection.execute(counted.group_by(columns.kind))}
