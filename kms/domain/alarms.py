"""Alarms: conditions that a person has to know of, open from when they are seen until they are over."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AlarmSeverity(StrEnum):
    """How soon somebody has to look."""

    WARNING = "warning"  # within the day
    CRITICAL = "critical"  # now


@dataclass(frozen=True)
class Alarm:
    """One condition. At most one alarm of a kind and subject is open (`cleared_at` None) at a time.

    `kind`: `noun.condition`, as error codes are. `subject`: what it is about (`card 0102..`, `node kms-1`); empty for
    the platform as a whole. `text`: what was seen and what to do, safe to show to anybody. `count`: how often it was
    seen since `raised_at`, last at `last_at`. `acknowledged_by`: who said that they look into it; that clears nothing.
    """

    id: str
    kind: str
    subject: str
    text: str
    severity: AlarmSeverity
    raised_at: datetime
    last_at: datetime
    count: int = 1
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    cleared_at: datetime | None = None
