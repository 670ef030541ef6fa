from datetime import timedelta
from typing import Any

import pytest

from kms.errors import Code, KmsError
from kms.service.metrics import FigureReader
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import build_alarm


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def reader(store: MemoryStore, seconds: Seconds) -> FigureReader:
    return FigureReader(store=store, monotonic=seconds, max_age=timedelta(seconds=15))


def test_figures_are_read_again_when_they_are_old(store: MemoryStore, seconds: Seconds, reader: FigureReader) -> None:
    first = reader.find_figures()
    assert first
    assert first.fleet.alarms == {}
    with store.transaction() as tx:
        tx.alarms.raise_(build_alarm())
    seconds.now = 14.9
    assert reader.find_figures() is first
    seconds.now = 15.0
    again = reader.find_figures()
    assert again
    assert again.fleet.alarms == {"warning": 1}


def test_a_large_fleet_is_counted_more_seldom(store: MemoryStore, seconds: Seconds) -> None:
    class SlowStore(MemoryStore):
        def reading(self) -> Any:  # noqa: ANN401 - as the store's
            seconds.now += 4
            return store.reading()

    reader = FigureReader(store=SlowStore(), monotonic=seconds, max_age=timedelta(seconds=15))
    first = reader.find_figures()
    seconds.now = 79
    assert reader.find_figures() is first
    seconds.now = 80
    assert reader.find_figures() is not first


def test_a_database_that_is_away_is_not_asked_more_often(
    store: MemoryStore, seconds: Seconds, reader: FigureReader
) -> None:
    store.fail_with = KmsError(Code.DATABASE_UNAVAILABLE, "away")
    assert reader.find_figures() is None
    store.fail_with = None
    assert reader.find_figures() is None
    seconds.now = 15.0
    assert reader.find_figures() is not None
