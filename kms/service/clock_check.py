"""Whether this node's clock may be trusted to schedule by (R43).

Rules: a clock that jumps against the monotonic one, that differs from the database's, or that the kernel does not call
synchronised stops scheduling. It goes on by itself once the clock is right again: back where it was by the monotonic
one, or after a jump called synchronised by a kernel that is asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class ClockReading:
    """The clocks at one moment. `monotonic_s`: seconds that no setting of the clock changes.

    `database`: the database's clock at the same moment. `is_synchronised`: what the kernel says; None where it is not
    asked.
    """

    wall: datetime
    monotonic_s: float
    database: datetime
    is_synchronised: bool | None = None


class ClockCheck:
    """Compares each reading with the last one that was right."""

    def __init__(self, tolerance: timedelta) -> None:
        self._tolerance = tolerance
        self._right: ClockReading | None = None

    def find_fault(self, reading: ClockReading) -> str | None:
        """Say what is wrong with the clock, None when nothing is."""
        if reading.is_synchronised is False:
            return "the kernel does not call this node's clock synchronised: start its NTP client"
        difference = reading.wall - reading.database
        if abs(difference) > self._tolerance:
            return f"this node's clock and the database's differ by {_describe(difference)}: mend the one that is wrong"
        jump = self._get_jump(reading)
        is_jump = abs(jump) > self._tolerance
        if not is_jump or reading.is_synchronised:
            # After a jump the kernel's word is enough: something that keeps the clock says that it is right now.
            self._right = reading
        if is_jump:
            text = f"this node's clock jumped by {_describe(jump)}"
            return f"{text}: set it right, or, if it is right now, start the scheduler anew"
        return None

    def _get_jump(self, reading: ClockReading) -> timedelta:
        """By how much more the clock went on since the last right reading than the monotonic one did."""
        if self._right is None:
            return timedelta()
        passed = timedelta(seconds=reading.monotonic_s - self._right.monotonic_s)
        return reading.wall - self._right.wall - passed


def _describe(difference: timedelta) -> str:
    return f"{difference.total_seconds():+.0f} s"
