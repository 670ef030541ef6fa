"""What every noun has in memory: rows by id."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from kms.errors import Code, KmsError

T = TypeVar("T", bound=Any)


class MemoryRepository(Generic[T]):
    noun = "row"

    def __init__(self, rows: dict[str, T]) -> None:
        self._rows = rows

    def unique_values(self, item: T) -> tuple[object, ...]:  # noqa: ARG002 - nouns with unique values use it
        """Values that no two rows may share; None is never a conflict."""
        return ()

    def add(self, item: T) -> None:
        if item.id in self._rows:
            raise KmsError(Code.CONFLICT, f"The {self.noun} exists.")
        self._check_unique(item)
        self._rows[item.id] = item

    def add_all(self, items: Iterable[T]) -> None:
        for item in items:
            self.add(item)

    def get(self, item_id: str) -> T:
        item = self.find(item_id)
        if item is None:
            raise KmsError(Code.NOT_FOUND, f"There is no {self.noun} with this id.")
        return item

    def find(self, item_id: str) -> T | None:
        return self._rows.get(item_id)

    def save(self, item: T) -> None:
        self.get(item.id)
        self._check_unique(item)
        self._rows[item.id] = item

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[T]:
        return sorted(self._rows.values(), key=lambda row: row.id)[offset : offset + limit]

    def _where(self, accept: Callable[[T], bool], key: Callable[[T], Any] = lambda row: row.id) -> Sequence[T]:
        return sorted((row for row in self._rows.values() if accept(row)), key=key)

    def _first(self, accept: Callable[[T], bool]) -> T | None:
        return next((row for row in self._rows.values() if accept(row)), None)

    def _check_unique(self, item: T) -> None:
        mine = self.unique_values(item)
        for row in self._rows.values():
            pairs = zip(mine, self.unique_values(row), strict=True)
            if row.id != item.id and any(a is not None and a == b for a, b in pairs):
                raise KmsError(Code.CONFLICT, f"A {self.noun} with the same unique value exists.")
