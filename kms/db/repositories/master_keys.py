"""Master keys."""

from kms.db.models import MasterKeyRow
from kms.db.repositories.base import SqlRepository
from kms.domain.keys import KeyState, MasterKey, MasterKind


class SqlMasterKeyRepository(SqlRepository[MasterKey]):
    """`kms.service.ports.MasterKeyRepository`."""

    noun = "master key"
    model = MasterKeyRow
    value = MasterKey

    def find_active(self, kind: MasterKind, name: str | None = None) -> MasterKey | None:
        """Read the newest ACTIVE generation of a kind (and of that name, if one is given)."""
        statement = self._select().where(MasterKeyRow.kind == kind, MasterKeyRow.state == KeyState.ACTIVE)
        if name is not None:
            statement = statement.where(MasterKeyRow.name == name)
        return self._find_one(statement.order_by(MasterKeyRow.generation.desc(), MasterKeyRow.id.desc()))

    def find_by_name(self, name: str) -> MasterKey | None:
        """Read the newest generation of this name."""
        return self._find_one(
            self._select()
            .where(MasterKeyRow.name == name)
            .order_by(MasterKeyRow.generation.desc(), MasterKeyRow.id.desc())
        )

    def find_generation(self, name: str, generation: int) -> MasterKey | None:
        """Read this generation of a name."""
        return self._find_one(self._select().where(MasterKeyRow.name == name, MasterKeyRow.generation == generation))
