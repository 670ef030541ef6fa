"""Readiness and metrics of a server with two workers while its HSM and its database go away and come back.

Rules: the bounds are the product's promise (docs/operations.md): red within 5 s, green within 10 s, with no restart.
"""

import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from terminal.client import open_http
from tests.fakes.stores import DATABASES
from tests.functional.site import Server, Site, find_free_port
from tests.functional.site_database import SqliteDatabase

RED_S = 5.0
GREEN_S = 10.0
PATIENCE_S = 60.0
AGREE = 6  # answers in a row, each on a connection of its own: both workers were asked


@dataclass
class Node:
    """Another node of the site, with metrics. `port`: of the API."""

    site: Site
    server: Server
    port: int
    metrics_port: int

    def ask(self) -> tuple[int, set[str]]:
        """Status of /readyz and what it names as away."""
        config = replace(self.site.load_terminal("terminal-1"), server_url=f"https://127.0.0.1:{self.port}")
        with open_http(config) as http:
            answer = http.get("/readyz")
        return answer.status_code, {fault["where"] for fault in answer.json().get("faults", ())}

    def measure(self, away: set[str]) -> float:
        """Seconds until every worker says that this is away, and nothing else."""
        begun = time.monotonic()
        since, agreed = begun, 0
        while agreed < AGREE:
            now = time.monotonic()
            assert now - begun < PATIENCE_S, "waited in vain"
            if self.ask() == ((503, away) if away else (200, set())):
                since = now if agreed == 0 else since
                agreed += 1
            else:
                agreed = 0
                time.sleep(0.05)
        return since - begun

    def metrics(self) -> dict[str, float]:
        """Samples without their labels' order mattering: as Prometheus reads them, line by line."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    @property
    def pids(self) -> str:
        assert self.server.process
        return (
            Path("/proc") / str(self.server.process.pid) / "task" / str(self.server.process.pid) / "children"
        ).read_text()


@pytest.fixture
def node(site: Site) -> Iterator[Node]:
    port, metrics_port = find_free_port(), find_free_port()
    config = site.installation.platform_config
    text, count = re.subn(r"(?m)^port = \d+", f"port = {port}", config.read_text(), count=1)
    assert count == 1
    text = re.sub(r"(?ms)^\[metrics\].*?(?=^\[|\Z)", "", text)
    other = config.with_name("readiness.toml")
    other.write_text(f"{text}\n[metrics]\nport = {metrics_port}\n")
    server = Server(other, site.folder / "readiness.log")
    server.start()
    try:
        yield Node(site, server, port, metrics_port)
    finally:
        server.kill()


@contextmanager
def moved_aside(*paths: Path) -> Iterator[None]:
    """Move files or folders away for the block."""
    pairs = [(path, path.with_name(f"{path.name}.aside")) for path in paths if path.exists()]
    for path, aside in pairs:
        path.rename(aside)
    try:
        yield
    finally:
        for path, aside in pairs:
            aside.rename(path)


def test_readiness_follows_the_hsm(node: Node) -> None:
    tokens = node.site.folder / "softhsm" / "tokens"
    if not tokens.is_dir():
        pytest.skip("the site's token is none of SoftHSM2")
    node.measure(set())
    before = node.pids
    with moved_aside(tokens):
        assert node.measure({"hsm"}) <= RED_S
    assert node.measure(set()) <= GREEN_S
    assert node.pids == before


def test_readiness_follows_the_database(node: Node) -> None:
    if not isinstance(node.site.database, SqliteDatabase):
        pytest.skip(f"{DATABASES[1]}: tests/integration/test_database_away.py stops a server of its own")
    path = node.site.database.path
    node.measure(set())
    before = node.pids
    with moved_aside(path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        assert node.measure({"database"}) <= RED_S
    assert node.measure(set()) <= GREEN_S
    assert node.pids == before


def test_metrics_of_both_workers_are_at_one_address(node: Node) -> None:
    node.measure(set())
    asked = 20
    for _ in range(asked):
        assert node.ask()[0] == 200
    metrics = node.metrics()
    counted = sum(
        value
        for name, value in metrics.items()
        if name.startswith("kms_http_request_seconds_count") and "/readyz" in name
    )
    assert counted >= asked
    assert metrics["kms_database_up"] == 1
    assert metrics['kms_hsm_call_seconds_count{outcome="answered"}'] > 0
    assert 0 <= time.time() - metrics["kms_hsm_last_answer_timestamp_seconds"] < PATIENCE_S
    assert "kms_updates_overdue" in metrics
