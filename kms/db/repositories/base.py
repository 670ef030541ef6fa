"""What every noun's repository does.

Rules: a row's columns are the fields of its frozen value, name for name and, through `kms.db.types`, value for value
(a test compares them), so that mapping is one line. Statements run on the transaction's connection without an identity
map: what is read is what is stored. A statement that every visit makes is built once (`bindparam`): SQLAlchemy takes
longer to build one than SQLite to run it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from sqlalchemy import Connection, Insert, Select, Table, Update, bindparam, insert, select, update

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
        self._write(_build_insert(self._table), build_values(item))

    def add_all(self, items: Iterable[T]) -> None:
        """Insert in bounded batches. Raises `input.conflict`."""
        for batch in split_batches(items):
            with translate_faults(self.noun):
                self._connection.execute(_build_insert(self._table), [build_values(item) for item in batch])

    def get(self, item_id: str) -> T:
        """Read by id. Raises `input.not-found`."""
        item = self.find(item_id)
        if item is None:
            raise KmsError(Code.NOT_FOUND, f"There is no {self.noun} with this id.")
        return item

    def find(self, item_id: str) -> T | None:
        """Read by id."""
        return self._find_prepared(_build_find(self._table), item_id=item_id)

    def save(self, item: T) -> None:
        """Write all columns of an existing row. Raises `input.not-found`, `input.conflict`."""
        values = build_values(item)
        if self._write(_build_update(self._table), {**values, "item_id": values["id"]}) == 0:
            raise KmsError(Code.NOT_FOUND, f"There is no {self.noun} with this id.")

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[T]:
        """Read a page, oldest first (ids are ordered by time)."""
        return self._list(_build_page(self._table), most=limit, skipped=offset)

    def _select(self) -> Select[Any]:
        return select(self._table)

    def _find_one(self, statement: Select[Any]) -> T | None:
        rows = self._list(statement.limit(1))
        return rows[0] if rows else None

    def _find_prepared(self, statement: Select[Any], **parameters: object) -> T | None:
        """The first row of a statement that was built before and limits itself. `parameters`: its `bindparam`s."""
        rows = self._list(statement, **parameters)
        return rows[0] if rows else None

    def _list(self, statement: Select[Any], **parameters: object) -> Sequence[T]:
        with translate_faults(self.noun):
            result = self._connection.execute(statement, parameters)
            names, rows = tuple(result.keys()), result.all()
        build = type(self).value
        return [cast("T", build(**dict(zip(names, row, strict=True)))) for row in rows]

    def _list_in(self, column: str, values: Sequence[object]) -> Sequence[T]:
        """Rows whose `column` is among `values`, asked for in batches."""
        found: list[T] = []
        for batch in split_batches(values):
            found.extend(self._list(self._select().where(self._table.c[column].in_(batch))))
        return found

    def _write(self, statement: Any, parameters: dict[str, Any] | None = None) -> int:  # noqa: ANN401 - insert and update share no public type with a rowcount
        with translate_faults(self.noun):
            return self._connection.execute(statement, parameters).rowcount


@cache
def _build_insert(table: Table) -> Insert:
    return insert(table)


@cache
def _build_find(table: Table) -> Select[Any]:
    return select(table).where(table.c.id == bindparam("item_id")).limit(1)


@cache
def _build_page(table: Table) -> Select[Any]:
    return select(table).order_by(table.c.id).limit(bindparam("most")).offset(bindparam("skipped"))


@cache
def _build_update(table: Table) -> Update:
    return update(table).where(table.c.id == bindparam("item_id"))


def build_values(item: "DataclassInstance") -> dict[str, Any]:
    """Map a frozen value's fields by column name (shallow, as enrolment maps 400,000 values)."""
    return dict(vars(item))


def split_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Split into lists of at most `BATCH`."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
