"""What the database knows, as metrics: made anew each time they are asked for, from figures that are read seldom."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import VisitState
from kms.service.metrics import PlatformFigures


class FleetCollector(Collector):
    """The figures as metrics. `find_figures`: None while the database does not answer."""

    def __init__(self, find_figures: Callable[[], PlatformFigures | None]) -> None:
        self._find_figures = find_figures

    def collect(self) -> Iterator[Metric]:
        """Give the metrics (called by prometheus_client)."""
        figures = self._find_figures()
        yield _gauge("kms_database_up", "Whether the database answers.", 0 if figures is None else 1)
        if figures is None:
            return
        yield from _collect_fleet(figures)
        yield from _collect_scheduler(figures)

    def describe(self) -> Iterator[Metric]:
        """Give nothing: registering asks no database (called by prometheus_client)."""
        return iter(())


def _collect_fleet(figures: PlatformFigures) -> Iterator[Metric]:
    fleet, overdue = figures.fleet, figures.fleet.overdue
    updates = GaugeMetricFamily("kms_updates", "Key updates by reason and state.", labels=("reason", "state"))
    for reason in UpdateReason:
        for state in UpdateState:
            updates.add_metric((reason, state), fleet.updates.get((reason, state), 0))
    yield updates
    visits = GaugeMetricFamily("kms_visits", "Visits on record by state and result.", labels=("state", "result"))
    for visit_state in VisitState:
        for result in ("done", ""):
            visits.add_metric((visit_state, result or "other"), fleet.visits.get((visit_state, result), 0))
    yield visits
    alarms = GaugeMetricFamily("kms_alarms_open", "Open alarms by severity.", labels=("severity",))
    for severity in ("warning", "critical"):
        alarms.add_metric((severity,), fleet.alarms.get(severity, 0))
    yield alarms
    open_visits = sum(count for (state, _), count in fleet.visits.items() if state == VisitState.OPEN)
    yield _gauge("kms_visits_open", "Visits that are not over.", open_visits)
    yield _gauge("kms_updates_overdue", "Open key updates past their deadline.", overdue.updates)
    since = (figures.at - overdue.oldest_deadline).total_seconds() if overdue.oldest_deadline else 0.0
    yield _gauge("kms_oldest_overdue_seconds", "For how long the oldest of them has been.", since)
    yield _gauge("kms_key_sets_past_end", "Key sets in force past their end.", overdue.key_sets)
    yield _gauge("kms_key_sets_in_doubt", "Key sets that may or may not be on their card.", fleet.in_doubt)
    yield _gauge("kms_key_sets_in_flight", "Key sets that are on their way to their card.", fleet.in_flight)
    yield _gauge("kms_cards_quarantined", "Cards set aside until officers decide.", fleet.quarantined)


def _collect_scheduler(figures: PlatformFigures) -> Iterator[Metric]:
    held = figures.lease is not None and bool(figures.lease.holder) and figures.lease.expires_at > figures.at
    node = figures.lease.holder.split("/")[0] if figures.lease is not None and held else ""
    holder = GaugeMetricFamily("kms_scheduler_lease_held", "Whether a node schedules, and which.", labels=("node",))
    holder.add_metric((node,), 1 if held else 0)
    yield holder
    late = GaugeMetricFamily("kms_scheduler_lateness_seconds", "For how long a job has been due.", labels=("job",))
    last = GaugeMetricFamily("kms_job_lateness_seconds", "How late a job's last run began.", labels=("job",))
    began = GaugeMetricFamily("kms_job_started_timestamp_seconds", "When a job last began.", labels=("job",))
    failed = GaugeMetricFamily("kms_job_failed", "Whether a job's last run failed.", labels=("job",))
    for run in figures.runs:
        overdue = (figures.at - run.started_at).total_seconds() - run.interval_s
        late.add_metric((run.job,), max(0.0, overdue))
        last.add_metric((run.job,), run.lateness_s)
        began.add_metric((run.job,), run.started_at.timestamp())
        failed.add_metric((run.job,), 1 if run.failed else 0)
    yield from (late, last, began, failed)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
