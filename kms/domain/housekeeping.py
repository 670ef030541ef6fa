"""What keeping house comes to: visits that nobody ended, and work and keys that are late."""

from dataclasses import dataclass, field
from datetime import datetime

from kms.card.keys import KcvMethod


@dataclass(frozen=True)
class DoubtedSet:
    """A key set in flight in a visit that nobody ended. `where`: card, security domain, version, generation."""

    key_set_id: str
    kcv_method: KcvMethod
    kcvs: tuple[bytes, ...]
    where: str


@dataclass(frozen=True)
class ExpiredVisits:
    """One batch. `visit_ids`: now EXPIRED. `doubted`: their sets, now IN_DOUBT. `update_ids`: PENDING again."""

    visit_ids: tuple[str, ...] = ()
    doubted: tuple[DoubtedSet, ...] = ()
    update_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overdue:
    """What is late. `updates`: open ones past their deadline. `key_sets`: in force past their end.

    `oldest_deadline`, `oldest_end`: the earliest of each, None where there is none.
    """

    updates: int = 0
    oldest_deadline: datetime | None = None
    key_sets: int = 0
    oldest_end: datetime | None = None


@dataclass(frozen=True)
class FleetFigures:
    """The platform in numbers, for metrics. `updates`: by reason and state. `visits`: by state and whether it was done.

    `quarantined`: cards set aside. `in_doubt`, `in_flight`: key sets. `alarms`: open ones by severity.
    """

    updates: dict[tuple[str, str], int] = field(default_factory=dict)
    visits: dict[tuple[str, str], int] = field(default_factory=dict)
    overdue: Overdue = field(default_factory=Overdue)
    quarantined: int = 0
    in_doubt: int = 0
    in_flight: int = 0
    alarms: dict[str, int] = field(default_factory=dict)
