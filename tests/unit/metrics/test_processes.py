import os
import subprocess
import sys
from pathlib import Path

import pytest

from kms.metrics.processes import VARIABLE, share_metrics

ROOT = Path(__file__).resolve().parents[3]

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


def test_the_folder_is_gone_with_the_process_that_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with share_metrics():
        folder = Path(os.environ[VARIABLE])
        assert folder.is_dir()
    assert not folder.exists()
    assert VARIABLE not in os.environ


FORK = """
import os
from kms.metrics.processes import VARIABLE, share_metrics
with share_metrics():
    folder = os.environ[VARIABLE]
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert os.path.isdir(folder)
assert os.path.isdir(folder) is (child == 0)
"""


def test_a_child_that_ends_leaves_the_folder_to_its_owner() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60, cwd=ROOT)
