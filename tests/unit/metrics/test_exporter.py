"""What one process shows, and that dashboard and alerts name only what there is."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from kms.metrics.exporter import build_exporter
from tests.unit.metrics.test_figures import FIGURES, NOW, read_samples

ROOT = Path(__file__).resolve().parents[3]
# What Prometheus adds to each target itself.
OF_PROMETHEUS = {"up"}


def list_shown() -> set[str]:
    exporter = build_exporter(lambda: FIGURES)
    exporter.instruments.observe_request("GET", "/readyz", 200, 0.01)
    exporter.instruments.observe_hsm("answered", 0.01, NOW)
    return {name.split("{")[0] for name in read_samples(exporter.registry)}


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
