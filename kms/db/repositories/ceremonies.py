"""Ceremonies, their steps, and the custody of key components."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, or_, select, update

from kms.db.faults import translate_faults
from kms.db.models import CeremonyRow, KeyComponentRow, StepRecordRow
from kms.db.repositories.base import SqlRepository, build_values
from kms.domain.ceremonies import Ceremony, CeremonyState, StepRecord
from kms.domain.key_components import KeyComponent
from kms.errors import Code, KmsError


class SqlCeremonyRepository(SqlRepository[Ceremony]):
    """`kms.service.ceremonies.ports.CeremonyRepository`."""

    noun = "ceremony"
    model = CeremonyRow
    value = Ceremony

    def list_open(self) -> Sequence[Ceremony]:
        """Those that run, or whose remains are still to be cleared away, the oldest first."""
        wanted = or_(CeremonyRow.state == CeremonyState.RUNNING, CeremonyRow.cleared.is_(False))
        return self._list(self._select().where(wanted).order_by(CeremonyRow.id))

    def list_overdue(self, now: datetime) -> Sequence[Ceremony]:
        """Those that run and whose time is over."""
        late = self._select().where(CeremonyRow.state == CeremonyState.RUNNING, CeremonyRow.deadline <= now)
        return self._list(late.order_by(CeremonyRow.id))

    def find_for_key(self, key_id: str) -> Ceremony | None:
        """The ceremony that makes this master key."""
        return self._find_one(self._select().where(CeremonyRow.key_id == key_id))

    def save(self, item: Ceremony) -> None:
        """Write it where the stored version is the given one, which counts up; else `ceremony.conflict`."""
        statement = update(CeremonyRow).where(CeremonyRow.id == item.id, CeremonyRow.version == item.version)
        if self._write(statement.values(build_values(item) | {"version": item.version + 1})) == 0:
            raise KmsError(Code.CEREMONY_CONFLICT, "Somebody else did something in this ceremony: look again.")

    def add_step(self, step: StepRecord) -> None:
        """Write a step. Raises `input.conflict` when the person did it before."""
        with translate_faults("step"):
            self._connection.execute(insert(StepRecordRow).values(build_values(step)))

    def list_steps(self, ceremony_id: str) -> Sequence[StepRecord]:
        """A ceremony's steps as they were done."""
        statement = select(*StepRecordRow.__table__.columns).where(StepRecordRow.ceremony_id == ceremony_id)
        with translate_faults("step"):
            rows = self._connection.execute(statement.order_by(StepRecordRow.id)).mappings().all()
        return [StepRecord(**row) for row in rows]

    def add_component(self, item: KeyComponent) -> None:
        """Write a component. Raises `input.conflict` for a number that is there."""
        with translate_faults("key component"):
            self._connection.execute(insert(KeyComponentRow).values(build_values(item)))

    def list_components(self, ceremony_id: str) -> Sequence[KeyComponent]:
        """A ceremony's components by their numbers."""
        return self._list_components(KeyComponentRow.ceremony_id == ceremony_id)

    def list_custody(self, key_name: str, *, rehearsal: bool) -> Sequence[KeyComponent]:
        """Every component of this name that anybody ever held."""
        return self._list_components(KeyComponentRow.key_name == key_name, KeyComponentRow.rehearsal.is_(rehearsal))

    def clear_components(self, ceremony_id: str) -> None:
        """Forget the wrapped values; who held them stays."""
        statement = update(KeyComponentRow).where(KeyComponentRow.ceremony_id == ceremony_id).values(wrapped=b"")
        with translate_faults("key component"):
            self._connection.execute(statement)

    def _list_components(self, *wanted: object) -> Sequence[KeyComponent]:
        statement = select(*KeyComponentRow.__table__.columns).where(*wanted)  # type: ignore[arg-type] # conditions on columns
        with translate_faults("key component"):
            rows = self._connection.execute(
                statement.order_by(KeyComponentRow.ceremony_id, KeyComponentRow.number)
            ).mappings()
            return [KeyComponent(**row) for row in rows.all()]
