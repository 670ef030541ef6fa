"""Working windows: on which days and at which hours (UTC) a policy may ask for updates.

Rules: the hour of the beginning is in the window, that of the end is not. A window that ends before it begins goes
over midnight and belongs to the day on which it begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from kms.errors import Fault

_HOURS = 24


class Weekday(StrEnum):
    """Days of the week, in the order of `datetime.weekday`."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_WEEK = tuple(Weekday)


@dataclass(frozen=True)
class Window:
    """A working window. `from_hour`: 0-23, `to_hour`: 1-24, UTC. By default it is always open."""

    weekdays: tuple[Weekday, ...] = _WEEK
    from_hour: int = 0
    to_hour: int = _HOURS

    def __contains__(self, moment: datetime) -> bool:
        utc = moment.astimezone(UTC)
        today, yesterday = _WEEK[utc.weekday()], _WEEK[utc.weekday() - 1]
        if self.from_hour < self.to_hour:
            return today in self.weekdays and self.from_hour <= utc.hour < self.to_hour
        return (today in self.weekdays and utc.hour >= self.from_hour) or (
            yesterday in self.weekdays and utc.hour < self.to_hour
        )

    def find_faults(self) -> Iterator[Fault]:
        """Everything that is wrong, with its field."""
        if not self.weekdays or len(set(self.weekdays)) != len(self.weekdays):
            yield Fault("weekdays", "Must name at least one day, each once: mon tue wed thu fri sat sun")
        if not 0 <= self.from_hour < _HOURS:
            yield Fault("from_hour", "Must be 0 to 23")
        if not 1 <= self.to_hour <= _HOURS:
            yield Fault("to_hour", "Must be 1 to 24")
        if self.from_hour == self.to_hour:
            yield Fault("to_hour", "Must differ from from_hour: 0 to 24 is the whole day")
