"""Ceremonies in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kms.domain.ceremonies import Ceremony, CeremonyState, StepRecord
from kms.domain.key_components import KeyComponent
from kms.errors import Code, KmsError
from tests.fakes.memory_rows import MemoryRepository


class MemoryCeremonies(MemoryRepository[Ceremony]):
    noun = "ceremony"

    def __init__(
        self, rows: dict[str, Ceremony], steps: dict[str, StepRecord], components: dict[str, KeyComponent]
    ) -> None:
        super().__init__(rows)
        self._steps = steps
        self._components = components

    def unique_values(self, item: Ceremony) -> tuple[object, ...]:
        return (item.pair_id, item.object_id)

    def save(self, item: Ceremony) -> None:
        if self.get(item.id).version != item.version:
            raise KmsError(Code.CEREMONY_CONFLICT, "Somebody else did something.")
        super().save(replace(item, version=item.version + 1))

    def list_open(self) -> Sequence[Ceremony]:
        return self._where(lambda item: item.state is CeremonyState.RUNNING or not item.cleared)

    def list_overdue(self, now: datetime) -> Sequence[Ceremony]:
        return self._where(lambda item: item.state is CeremonyState.RUNNING and item.deadline <= now)

    def find_for_key(self, key_id: str) -> Ceremony | None:
        return self._first(lambda item: item.key_id == key_id)

    def add_step(self, step: StepRecord) -> None:
        mine = (step.ceremony_id, step.number, step.person_id)
        if any((old.ceremony_id, old.number, old.person_id) == mine for old in self._steps.values()):
            raise KmsError(Code.CONFLICT, "The person did it before.")
        self._steps[step.id] = step

    def list_steps(self, ceremony_id: str) -> Sequence[StepRecord]:
        return [self._steps[name] for name in sorted(self._steps) if self._steps[name].ceremony_id == ceremony_id]

    def add_component(self, item: KeyComponent) -> None:
        mine = (item.ceremony_id, item.number)
        if any((old.ceremony_id, old.number) == mine for old in self._components.values()):
            raise KmsError(Code.CONFLICT, "The component is there.")
        self._components[item.id] = item

    def list_components(self, ceremony_id: str) -> Sequence[KeyComponent]:
        return self._sort([item for item in self._components.values() if item.ceremony_id == ceremony_id])

    def list_custody(self, key_name: str, *, rehearsal: bool) -> Sequence[KeyComponent]:
        return self._sort(
            [item for item in self._components.values() if (item.key_name, item.rehearsal) == (key_name, rehearsal)]
        )

    def clear_components(self, ceremony_id: str) -> None:
        for item in self.list_components(ceremony_id):
            self._components[item.id] = replace(item, wrapped=b"")

    @staticmethod
    def _sort(items: list[KeyComponent]) -> Sequence[KeyComponent]:
        return sorted(items, key=lambda item: (item.ceremony_id, item.number))
