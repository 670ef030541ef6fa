"""The dashboard: what needs me, what is late, what comes, and whether everything that works for us works."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from kms.console.charts import BarChart, Series, build_bars
from kms.console.pages.requests import why_not
from kms.console.pages.services import PageServices
from kms.console.pages.site import Site
from kms.domain.campaigns import FINAL_STATES, CampaignState
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.domain.updates import UpdateState
from kms.errors import KmsError
from kms.service.metrics import FigureReader
from kms.service.ports import HsmStatus

MONTHS, WEEKS = 14, 12  # a year's cryptoperiod ends within the months shown
HSM_SECONDS, CHART_SECONDS = 30.0, 60.0
T = TypeVar("T")


@dataclass(frozen=True)
class HsmView:
    """What the HSM says of itself, or why it does not."""

    status: HsmStatus | None
    problem: str


class Lately(Generic[T]):
    """What was found lately: asked for at most every so many seconds, whoever looks."""

    def __init__(self, find: Callable[[], T], seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: tuple[float, T] | None = None

    def look(self) -> T:
        """What was found lately, or is found now."""
        with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > self._seconds:
                found = self._find()
                self._found = (time.monotonic(), found)
            return self._found[1]


def find_hsm(services: PageServices) -> HsmView:
    """Ask the HSM for its state."""
    try:
        return HsmView(services.vault.status(), "")
    except KmsError as error:
        return HsmView(None, error.detail)


def find_charts(services: PageServices) -> Mapping[str, BarChart]:
    """What comes, and what became of it."""
    now = services.clock.now()
    months, weeks = find_months(now), find_weeks(now)
    with services.store.reading() as reading:
        ends = reading.console.count_ends([now, *months])
        outcomes = reading.console.count_outcomes(weeks)
    return {
        "ends": build_bars(
            title="Key sets in force, by the month in which they end",
            labels=["past", f"{now:%b}", *(f"{month:%b}" for month in months[:-1])],
            series=[Series("key sets", "one", ends)],
        ),
        "outcomes": build_bars(
            title="Key updates that ended, by week",
            labels=[f"{week:%d %b}" for week in weeks[:-1]],
            series=[
                Series("done", "good", outcomes[UpdateState.DONE]),
                Series("failed", "bad", outcomes[UpdateState.FAILED]),
                Series("cancelled", "muted", outcomes[UpdateState.CANCELLED]),
            ],
        ),
    }


def add_dashboard(site: Site) -> None:
    """Add the page."""
    services = site.services
    figures = FigureReader(store=services.store, monotonic=time.monotonic)
    hsm = Lately(lambda: find_hsm(services), HSM_SECONDS)
    charts = Lately(lambda: find_charts(services), CHART_SECONDS)

    @site.page("/", Action.RECORDS_READ)
    def dashboard(principal: Principal) -> str:
        pending = services.requests.list_pending()
        with services.store.reading() as reading:
            alarms = reading.alarms.list_open(limit=6)
            transfers = {row["peer"]: row for row in reading.console.count_transfers()}
        return site.render(
            "dashboard.html",
            principal,
            mine=[item for item in pending if item.requested_by == principal.person_id],
            to_decide=[item for item in pending if not why_not(site, principal, item.id)],
            alarms=alarms,
            figures=figures.find_figures(),
            campaigns=services.campaigns.list([item for item in CampaignState if item not in FINAL_STATES]),
            **charts.look(),
            hsm=hsm.look(),
            peers=services.config.peers,
            transfers=transfers,
        )


def find_months(now: datetime) -> Sequence[datetime]:
    """The beginnings of the next months, as many as are shown."""
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    count = first.year * 12 + first.month - 1
    return [
        first.replace(year=(count + number) // 12, month=(count + number) % 12 + 1) for number in range(1, MONTHS + 1)
    ]


def find_weeks(now: datetime) -> Sequence[datetime]:
    """The Mondays that bound the last weeks, this one last."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = today + timedelta(days=7 - today.weekday())
    return [end - timedelta(weeks=number) for number in range(WEEKS, -1, -1)]
