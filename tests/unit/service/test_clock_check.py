from datetime import timedelta

import pytest

from kms.service.clock_check import ClockCheck, ClockReading
from tests.fakes.records import NOW

TOLERANCE = timedelta(minutes=5)


def read(seconds: float, *, wall: float = 0, database: float = 0, is_synchronised: bool | None = None) -> ClockReading:
    """All clocks after so many seconds, each as far off as told."""
    return ClockReading(
        NOW + timedelta(seconds=seconds + wall),
        1000 + seconds,
        NOW + timedelta(seconds=seconds + database),
        is_synchronised,
    )


def test_even_clocks_are_trusted() -> None:
    check = ClockCheck(TOLERANCE)
    assert [check.find_fault(read(second, is_synchronised=True)) for second in (0, 10, 4000)] == [None, None, None]


@pytest.mark.parametrize("jump", [301, -301, 86_400])
def test_a_jump_is_a_fault_until_the_clock_is_back(jump: float) -> None:
    """The database on the same machine jumps with it."""
    check = ClockCheck(TOLERANCE)
    check.find_fault(read(0))
    for second in (10, 20, 1000):
        fault = check.find_fault(read(second, wall=jump, database=jump))
        assert fault
        assert f"{jump:+.0f} s" in fault
    assert check.find_fault(read(1010)) is None


def test_a_jump_to_what_the_kernel_calls_right_is_a_fault_once() -> None:
    check = ClockCheck(TOLERANCE)
    check.find_fault(read(0, is_synchronised=True))
    assert check.find_fault(read(10, wall=900, database=900, is_synchronised=True))
    assert check.find_fault(read(20, wall=900, database=900, is_synchronised=True)) is None


def test_many_small_steps_are_no_jump() -> None:
    check = ClockCheck(TOLERANCE)
    assert [check.find_fault(read(10 * n, wall=100 * n, database=100 * n)) for n in range(10)] == [None] * 10


@pytest.mark.parametrize("jump", [299, -299])
def test_a_small_step_is_none(jump: float) -> None:
    check = ClockCheck(TOLERANCE)
    check.find_fault(read(0))
    assert check.find_fault(read(10, wall=jump, database=jump)) is None


@pytest.mark.parametrize("difference", [400, -400])
def test_a_difference_to_the_database_is_a_fault_as_long_as_it_lasts(difference: float) -> None:
    check = ClockCheck(TOLERANCE)
    assert check.find_fault(read(0, database=difference))
    assert check.find_fault(read(10, database=difference))
    assert check.find_fault(read(20)) is None


def test_a_clock_that_is_not_synchronised_is_a_fault() -> None:
    check = ClockCheck(TOLERANCE)
    assert check.find_fault(read(0, is_synchronised=False))
    assert check.find_fault(read(10, is_synchronised=True)) is None


def test_a_paused_process_is_no_jump() -> None:
    """A process that was stopped for an hour: both clocks went on."""
    check = ClockCheck(TOLERANCE)
    check.find_fault(read(0))
    assert check.find_fault(read(3600)) is None
