"""The platform's condition, repair orders and findings in memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kms.domain.recovery import KeyFinding, PlatformState, RepairOrder, RepairState
from tests.fakes.memory_rows import MemoryRepository


class MemoryPlatformState(MemoryRepository[PlatformState]):
    noun = "platform state"

    def find_current(self) -> PlatformState | None:
        return self._first(lambda _state: True)


class MemoryRepairOrders(MemoryRepository[RepairOrder]):
    noun = "repair order"

    def find_open(self, card_id: str) -> RepairOrder | None:
        return self._first(lambda order: order.card_id == card_id and order.state is RepairState.OPEN)

    def find_newest(self, card_id: str) -> RepairOrder | None:
        found = self._where(lambda order: order.card_id == card_id)
        return found[-1] if found else None


class MemoryKeyFindings(MemoryRepository[KeyFinding]):
    noun = "finding"

    def list_for_order(self, repair_order_id: str) -> Sequence[KeyFinding]:
        return self._where(lambda finding: finding.repair_order_id == repair_order_id)

    def list_of_recovery(self, since: datetime, *, limit: int = 100, offset: int = 0) -> Sequence[KeyFinding]:
        found = self._where(lambda finding: finding.repair_order_id is None and finding.found_at >= since)
        return found[offset : offset + limit]

    def mark_applied(self, repair_order_id: str, at: datetime) -> None:
        for finding in self.list_for_order(repair_order_id):
            self.save(replace(finding, applied_at=at))

    def count_by_kind(self, since: datetime) -> dict[str, int]:
        return dict(Counter(str(finding.kind) for finding in self.list_of_recovery(since, limit=1_000_000)))
