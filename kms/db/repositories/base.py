"""What every noun's repository does.

Rules: a row's columns are the fields of its frozen value, name for name and, through `kms.db.types`, value for value
(a test compares them), so that mapping is one line. Statements run on the transaction's connection without an identity
map: what is read is what is stored.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from sqlalchemy import Connection, Select, Table, insert, select, update

from kms.db.faults import translate_faults
from kms.db.models import Base
from kms.errors import Code, KmsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Item = TypeVar("Item")

BATCH = 1000  # rows a statement: bounded memory, and below every driver's limit of parameters


class SqlRepository(Generic[T]):
    """The five operations of `kms.service.ports.Repository` on one table."""

    noun: ClassVar[str]
    model: ClassVar[type[Base]]
    value: ClassVar[Callable[..., Any]]

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table = cast("Table", self.model.__table__)

    def add(self, item: T) -> None:
        """Insert. Raises `input.conflict`."""
        self._write(insert(self._table).values(build_values(item)))

    def add_all(self, items: Iterable[T]) -> None:
        """Insert in bounded batches. Raises `input.conflict`."""
        for batch in split_batches(items):
            with translate_faults(self.noun):
                self._connection.execute(insert(self._table), [build_values(item) for item in batch])

    def get(self, item_id: str) -> T:
        """Read by id. Raises `input.not-found`."""
        item = self.find(item_id)
        if item is None:
            raise KmsError(Code.NOT_FOUND, f"There is no {self.noun} with this id.")
        return item

    def find(self, item_id: str) -> T | None:
        """Read by id."""
        return self._find_one(self._select().where(self._table.c.id == item_id))

    def save(self, item: T) -> None:
        """Write all columns of an existing row. Raises `input.not-found`, `input.conflict`."""
        values = build_values(item)
        if self._write(update(self._table).where(self._table.c.id == values["id"]).values(values)) == 0:
            raise KmsError(Code.NOT_FOUND, f"There is no {self.noun} with this id.")

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[T]:
        """Read a page, oldest first (ids are ordered by time)."""
        return self._list(self._select().order_by(self._table.c.id).limit(limit).offset(offset))

    def _select(self) -> Select[Any]:
        return select(self._table)

    def _find_one(self, statement: Select[Any]) -> T | None:
        rows = self._list(statement.limit(1))
        return rows[0] if rows else None

    def _list(self, statement: Select[Any]) -> Sequence[T]:
        with translate_faults(self.noun):
            rows = self._connection.execute(statement).mappings().all()
        build = type(self).value
        return [cast("T", build(**row)) for row in rows]

    def _list_in(self, column: str, values: Sequence[object]) -> Sequence[T]:
        """Rows whose `column` is among `values`, asked for in batches."""
        found: list[T] = []
        for batch in split_batches(values):
            found.extend(self._list(self._select().where(self._table.c[column].in_(batch))))
        return found

    def _write(self, statement: Any) -> int:  # noqa: ANN401 - insert and update share no public type with a rowcount
        with translate_faults(self.noun):
            return self._connection.execute(statement).rowcount


def build_values(item: "DataclassInstance") -> dict[str, Any]:
    """Map a frozen value's fields by column name (shallow, as enrolment maps 400,000 values)."""
    return dict(vars(item))


def split_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Split into lists of at most `BATCH`."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
