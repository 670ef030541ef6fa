"""The dashboard: what needs me, what is late, what comes, and whether everything that works for us works."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.console.charts import Series, build_bars
from kms.console.pages.requests import why_not
from kms.console.pages.services import PageServices
from kms.console.pages.site import Site
from kms.domain.campaigns import CampaignState
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.domain.updates import UpdateState
from kms.errors import KmsError
from kms.service.metrics import FigureReader
from kms.service.ports import HsmStatus

MONTHS, WEEKS = 14, 12  # a year's cryptoperiod ends within the months shown
HSM_SECONDS = 30.0


@dataclass(frozen=True)
class HsmView:
    """What the HSM says of itself, or why it does not."""

    status: HsmStatus | None
    problem: str


class HsmWatch:
    """Asks the HSM for its state at most every `HSM_SECONDS`, whoever looks."""

    def __init__(self, services: PageServices) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._view = HsmView(None, "")

    def look(self) -> HsmView:
        """What was found lately."""
        with self._lock:
            if self._asked_at is None or time.monotonic() - self._asked_at > HSM_SECONDS:
                try:
                    self._view = HsmView(self._services.vault.status(), "")
                except KmsError as error:
                    self._view = HsmView(None, error.detail)
                self._asked_at = time.monotonic()
            return self._view


def add_dashboard(site: Site) -> None:
    """Add the page."""
    services = site.services
    figures, watch = FigureReader(store=services.store, monotonic=time.monotonic), HsmWatch(services)

    @site.page("/", Action.RECORDS_READ)
    def dashboard(principal: Principal) -> str:
        now = services.clock.now()
        pending = services.requests.list_pending()
        with services.store.reading() as reading:
            alarms = reading.alarms.list_open(limit=6)
            months, weeks = find_months(now), find_weeks(now)
            ends = reading.console.count_ends([now, *months])
            outcomes = reading.console.count_outcomes(weeks)
            transfers = {row["peer"]: row for row in reading.console.count_transfers()}
        return site.render(
            "dashboard.html",
            principal,
            mine=[item for item in pending if item.requested_by == principal.person_id],
            to_decide=[item for item in pending if not why_not(site, principal, item.id)],
            alarms=alarms,
            figures=figures.find_figures(),
            campaigns=services.campaigns.list(
                [CampaignState.RUNNING, CampaignState.FILLING, CampaignState.STOPPED, CampaignState.PAUSED]
            ),
            ends=build_bars(
                title="Key sets in force, by the month in which they end",
                labels=["past", f"{now:%b}", *(f"{month:%b}" for month in months[:-1])],
                series=[Series("key sets", "one", ends)],
            ),
            outcomes=build_bars(
                title="Key updates that ended, by week",
                labels=[f"{week:%d %b}" for week in weeks[:-1]],
                series=[
                    Series("done", "good", outcomes[UpdateState.DONE]),
                    Series("failed", "bad", outcomes[UpdateState.FAILED]),
                    Series("cancelled", "muted", outcomes[UpdateState.CANCELLED]),
                ],
            ),
            hsm=watch.look(),
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
