import threading
import time
from collections.abc import Callable

import pytest

from kms.db.watch import DatabaseWatch
from kms.errors import Code, KmsError

PATIENCE_S = 10


class Database:
    """`fault`: what a question raises; `gate`: closed, a question hangs."""

    def __init__(self) -> None:
        self.fault: KmsError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def ask(self) -> None:
        assert self.gate.wait(PATIENCE_S)
        if self.fault is not None:
            raise self.fault


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def is_up(watch: DatabaseWatch) -> bool:
    try:
        watch.check()
    except KmsError:
        return False
    return True


def test_before_the_first_answer_it_is_away() -> None:
    with pytest.raises(KmsError) as error:
        DatabaseWatch(lambda: None).check()
    assert error.value.code is Code.DATABASE_UNAVAILABLE


def test_it_follows_the_database_away_and_back() -> None:
    database = Database()
    watch = DatabaseWatch(database.ask, every_s=0.01)
    watch.start()
    wait_until(lambda: is_up(watch))
    database.fault = KmsError(Code.DATABASE_SCHEMA, "of another version")
    wait_until(lambda: not is_up(watch))
    with pytest.raises(KmsError) as error:
        watch.check()
    assert (error.value.code, error.value.detail) == (Code.DATABASE_SCHEMA, "of another version")
    database.fault = None
    wait_until(lambda: is_up(watch))
    watch.stop()


def test_a_database_that_hangs_is_away_and_checking_does_not_wait() -> None:
    database = Database()
    watch = DatabaseWatch(database.ask, every_s=0.01, max_age_s=0.1)
    watch.start()
    wait_until(lambda: is_up(watch))
    database.gate.clear()
    wait_until(lambda: not is_up(watch))
    database.gate.set()
    wait_until(lambda: is_up(watch))
    watch.stop()
