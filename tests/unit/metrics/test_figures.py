"""The database's figures as Prometheus reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kms.domain.housekeeping import FleetFigures, Overdue
from kms.domain.leases import JobRun, Lease
from kms.metrics.figures import FleetCollector
from kms.service.metrics import PlatformFigures

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIGURES = PlatformFigures(
    at=NOW,
    fleet=FleetFigures(
        updates={("expiry", "DONE"): 7, ("forced", "PENDING"): 2},
        visits={("OPEN", ""): 3, ("ENDED", "done"): 11},
        overdue=Overdue(2, NOW - timedelta(hours=1), 4, NOW - timedelta(days=1)),
        quarantined=5,
        in_doubt=6,
        in_flight=1,
        alarms={"critical": 1},
    ),
    lease=Lease("scheduler", "node-1/77-ab", 9, 30, NOW + timedelta(seconds=10)),
    runs=(
        JobRun("sweep", "node-1", NOW - timedelta(seconds=100), 60.0, 1.5, failed=True),
        JobRun("retain", "node-1", NOW - timedelta(seconds=10), 60.0, 0.0),
    ),
)


def read_samples(registry: CollectorRegistry) -> dict[str, float]:
    """Samples by name and labels: `name{a,b}`, label values in the order of their names."""
    return {
        f"{sample.name}{{{','.join(sample.labels[name] for name in sorted(sample.labels))}}}": sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def collect(figures: PlatformFigures | None) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: figures))
    return read_samples(registry)


def test_the_databases_figures_are_shown() -> None:
    samples = collect(FIGURES)
    expected = {
        "kms_database_up{}": 1,
        "kms_updates{expiry,DONE}": 7,
        "kms_updates{forced,PENDING}": 2,
        "kms_updates{forced,FAILED}": 0,
        "kms_updates_overdue{}": 2,
        "kms_oldest_overdue_seconds{}": 3600,
        "kms_key_sets_past_end{}": 4,
        "kms_key_sets_in_doubt{}": 6,
        "kms_key_sets_in_flight{}": 1,
        "kms_cards_quarantined{}": 5,
        "kms_visits_open{}": 3,
        "kms_visits{done,ENDED}": 11,
        "kms_alarms_open{critical}": 1,
        "kms_alarms_open{warning}": 0,
        "kms_scheduler_lease_held{node-1}": 1,
        "kms_scheduler_lateness_seconds{sweep}": 40,
        "kms_scheduler_lateness_seconds{retain}": 0,
        "kms_job_lateness_seconds{sweep}": 1.5,
        "kms_job_failed{sweep}": 1,
        "kms_job_failed{retain}": 0,
    }
    assert {name: samples.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "lease", [None, Lease("scheduler", "", 9, 30, NOW), Lease("scheduler", "node-1/7", 9, 30, NOW)]
)
def test_a_lease_that_nobody_holds_is_shown_so(lease: Lease | None) -> None:
    figures = PlatformFigures(at=NOW, fleet=FleetFigures(), lease=lease, runs=())
    assert collect(figures)["kms_scheduler_lease_held{}"] == 0


def test_a_database_that_is_away_shows_no_figures() -> None:
    samples = collect(None)
    assert samples["kms_database_up{}"] == 0
    assert not [name for name in samples if name.startswith("kms_updates")]


def test_registering_asks_nobody() -> None:
    CollectorRegistry().register(FleetCollector(lambda: pytest.fail("the database was asked")))
