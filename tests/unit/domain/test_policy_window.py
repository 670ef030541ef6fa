from datetime import datetime, timedelta, timezone

import pytest

from kms.domain.policy_window import Weekday, Window
from tests.fakes.records import NOW

MONDAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def test_the_hour_of_the_end_is_outside() -> None:
    window = Window((Weekday.MONDAY,), 6, 8)
    inside = [hour for hour in range(48) if MONDAY + timedelta(hours=hour) in window]
    assert inside == [6, 7]


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = Window((Weekday.MONDAY,), 22, 2)
    inside = [hour for hour in range(-24, 72) if MONDAY + timedelta(hours=hour) in window]
    assert inside == [22, 23, 24, 25]


def test_hours_are_utc() -> None:
    east = datetime(2026, 11, 23, 8, tzinfo=timezone(timedelta(hours=2)))
    assert east in Window((Weekday.MONDAY,), 6, 7)


def test_by_default_it_is_always_open() -> None:
    assert all(MONDAY + timedelta(hours=hour) in Window() for hour in range(168))


@pytest.mark.parametrize(
    ("window", "field"),
    [
        (Window(()), "weekdays"),
        (Window((Weekday.MONDAY, Weekday.MONDAY)), "weekdays"),
        (Window(from_hour=24), "from_hour"),
        (Window(to_hour=25), "to_hour"),
        (Window(from_hour=3, to_hour=3), "to_hour"),
    ],
)
def test_what_is_no_window_is_told(window: Window, field: str) -> None:
    assert field in {fault.where for fault in window.find_faults()}
