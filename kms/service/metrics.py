"""The platform's figures for metrics, read from the database seldom, whoever asks how often.

Rules: a handful of aggregate statements at most every `max_age`, and over a large fleet so seldom that they take a
twentieth of the time; two who ask at once are answered by one reading.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kms.domain.housekeeping import FleetFigures
from kms.domain.leases import JobRun, Lease
from kms.errors import KmsError
from kms.service.leases import SCHEDULER
from kms.service.ports import Store

MAX_AGE = timedelta(seconds=15)
PAUSE = 20  # times as long as the last reading took


@dataclass(frozen=True)
class PlatformFigures:
    """Everything that is counted in the database. `at`: when, by the database's clock."""

    at: datetime
    fleet: FleetFigures
    lease: Lease | None
    runs: tuple[JobRun, ...]


class FigureReader:
    """Reads the figures, or gives those read lately. `monotonic`: seconds that no setting of the clock changes."""

    def __init__(self, *, store: Store, monotonic: Callable[[], float], max_age: timedelta = MAX_AGE) -> None:
        self._store = store
        self._monotonic = monotonic
        self._max_age_s = max_age.total_seconds()
        self._lock = threading.Lock()
        self._next_at: float | None = None
        self._figures: PlatformFigures | None = None

    def find_figures(self) -> PlatformFigures | None:
        """The figures, as a rule at most `max_age` old; None while the database does not answer."""
        with self._lock:
            now = self._monotonic()
            if self._next_at is None or now >= self._next_at:
                try:
                    self._figures = self._read()
                except KmsError:
                    self._figures = None
                self._next_at = now + max(self._max_age_s, PAUSE * (self._monotonic() - now))
            return self._figures

    def _read(self) -> PlatformFigures:
        with self._store.reading() as tx:
            at = tx.leases.now()
            return PlatformFigures(
                at=at,
                fleet=tx.housekeeping.read_figures(at),
                lease=tx.leases.find(SCHEDULER),
                runs=tuple(tx.leases.list_runs()),
            )
