"""The metrics as Prometheus reads them, and that dashboard and alerts name only what there is."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kms.domain.housekeeping import FleetFigures, Overdue
from kms.domain.leases import JobRun, Lease
from kms.metrics.exporter import Exporter, build_exporter
from kms.metrics.processes import VARIABLE, share_metrics
from kms.service.metrics import PlatformFigures

ROOT = Path(__file__).resolve().parents[3]
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
# What Prometheus adds to each target itself.
OF_PROMETHEUS = {"up"}


def read_samples(exporter: Exporter) -> dict[str, float]:
    """Samples by name and labels: `name{a,b}`, label values in the order of their names."""
    text = generate_latest(exporter.registry).decode()
    return {
        f"{sample.name}{{{','.join(sample.labels[name] for name in sorted(sample.labels))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_databases_figures_are_shown() -> None:
    samples = read_samples(build_exporter(lambda: FIGURES))
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
    assert read_samples(build_exporter(lambda: figures))["kms_scheduler_lease_held{}"] == 0


def test_a_database_that_is_away_shows_no_figures() -> None:
    samples = read_samples(build_exporter(lambda: None))
    assert samples["kms_database_up{}"] == 0
    assert not [name for name in samples if name.startswith("kms_updates")]


def test_requests_and_uses_of_the_hsm_are_counted() -> None:
    exporter = build_exporter(lambda: None)
    exporter.instruments.observe_request("POST", "/api/v1/applications", 200, 0.03)
    exporter.instruments.observe_request("GET", "", 404, 0.001)
    exporter.instruments.observe_hsm("answered", 0.002, NOW)
    exporter.instruments.observe_hsm("lost", 0.5, None)
    samples = read_samples(exporter)
    assert samples["kms_http_request_seconds_count{POST,/api/v1/applications,200}"] == 1
    assert samples["kms_http_request_seconds_count{GET,,404}"] == 1
    assert samples["kms_hsm_call_seconds_count{answered}"] == 1
    assert samples["kms_hsm_call_seconds_count{lost}"] == 1
    assert samples["kms_hsm_last_answer_timestamp_seconds{}"] == NOW.timestamp()


CHILD = """
from datetime import UTC, datetime
from kms.metrics.exporter import build_exporter
instruments = build_exporter(lambda: None).instruments
instruments.observe_request("GET", "/readyz", 200, 0.01)
instruments.observe_hsm("answered", 0.01, datetime(2026, 11, 23, tzinfo=UTC))
"""
PARENT = """
import os, subprocess, sys
from prometheus_client import generate_latest
from kms.metrics.exporter import build_exporter
from kms.metrics.processes import forget_process
pids = []
for _ in range(2):
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
    assert child.wait() == 0
    pids.append(child.pid)
exporter = build_exporter(lambda: None)
print(generate_latest(exporter.registry).decode())
for pid in pids:
    forget_process(pid)
print("AFTER")
print(generate_latest(exporter.registry).decode())
"""


def test_several_processes_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with share_metrics():
        done = subprocess.run(
            [sys.executable, "-c", PARENT, CHILD], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
        )
    before, after = done.stdout.split("AFTER")
    counted = 'kms_http_request_seconds_count{method="GET",route="/readyz",status="200"} 2.0'
    assert counted in before
    assert counted in after
    assert "kms_hsm_last_answer_timestamp_seconds 1." in before
    assert "kms_hsm_last_answer_timestamp_seconds 1." not in after


def list_shown() -> set[str]:
    exporter = build_exporter(lambda: FIGURES)
    exporter.instruments.observe_request("GET", "/readyz", 200, 0.01)
    exporter.instruments.observe_hsm("answered", 0.01, NOW)
    return {name.split("{")[0] for name in read_samples(exporter)}


def list_named(expressions: list[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\b(kms_\w+|up)\b(?=[{\[) ]|$)", text)}


def test_every_metric_of_the_dashboard_exists() -> None:
    dashboard: dict[str, Any] = json.loads((ROOT / "config" / "grafana" / "dashboard.json").read_text())
    named = list_named([target["expr"] for panel in dashboard["panels"] for target in panel["targets"]])
    assert len(named) > 15
    assert named - list_shown() == set()


def test_every_metric_of_the_alerts_exists() -> None:
    rules = yaml.safe_load((ROOT / "config" / "prometheus" / "alerts.yml").read_text())
    named = list_named([rule["expr"] for group in rules["groups"] for rule in group["rules"]])
    assert len(named) > 10
    assert named - list_shown() - OF_PROMETHEUS == set()


def test_every_metric_is_shown_on_the_dashboard_or_alerts() -> None:
    dashboard = (ROOT / "config" / "grafana" / "dashboard.json").read_text()
    alerts = (ROOT / "config" / "prometheus" / "alerts.yml").read_text()
    own = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in list_shown()}
    assert {name for name in own if name not in dashboard + alerts} == set()
