"""Several schedulers on one database: one works, whoever is killed or stopped; who lost the lease writes nothing.

Rules: what is waited for is polled with patience; nothing here measures time.
"""

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from kms.errors import Code, KmsError
from kms.service.leases import FencedStore, LeaseKeeper
from tests.fakes.installation import Installation, build_installation
from tests.fakes.records import build_alarm
from tests.fakes.stores import DATABASES, closing_store, open_database

BIN = Path(__file__).resolve().parents[2] / ".venv" / "bin"
PATIENCE_S = 60
LEASE_S = 3
SCHEDULER_CONFIG = f"\n[scheduler]\nlease_seconds = {LEASE_S}\nvisits_every = 1\n"


class Node:
    """One `kms scheduler` process of a name of its own."""

    def __init__(self, installation: Installation, name: str) -> None:
        config = installation.folder / f"{name}.toml"
        text = installation.config.read_text().replace("[platform]\n", f'[platform]\nnode = "{name}"\n')
        config.write_text(text + SCHEDULER_CONFIG)
        self.name = name
        self.log = installation.folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "kms"), "--config", str(config), "scheduler"], stdout=subprocess.DEVNULL, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # SIGKILL also ends a process that is stopped
        self.process.wait(PATIENCE_S)


class Site:
    """`status`: as `kms scheduler status --json` tells it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.nodes: list[Node] = []

    def start(self, name: str) -> Node:
        node = Node(self.installation, name)
        self.nodes.append(node)
        return node

    def status(self) -> dict[str, Any]:
        result = self.installation.run("scheduler", "status", "--json")
        assert result.exit_code == 0, result.output
        status: dict[str, Any] = json.loads(result.stdout)
        return status

    def stop_between_transactions(self, node: Node) -> None:
        """SIGSTOP while the node writes nothing: on SQLite a writer that is stopped keeps all others waiting for it."""
        node.send(signal.SIGSTOP)
        while self._is_locked():
            node.send(signal.SIGCONT)
            time.sleep(0.05)
            node.send(signal.SIGSTOP)

    def _is_locked(self) -> bool:
        if not self.installation.url.startswith("sqlite"):
            return False
        connection = sqlite3.connect(
            self.installation.url.removeprefix("sqlite:///"), timeout=0.2, isolation_level=None
        )
        with closing(connection):
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        return False

    def holder(self) -> str:
        return str(self.status()["holder"]).split("/")[0]

    def worker(self) -> str:
        """The node that last ran the job that is due each second."""
        return next((run["node"] for run in self.status()["jobs"] if run["job"] == "expire-visits"), "")


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with open_database(request.param, tmp_path) as url:
        site = Site(build_installation(tmp_path, url))
        try:
            yield site
        finally:
            for node in site.nodes:
                node.end()


def test_one_works_whoever_is_killed_or_stopped(site: Site) -> None:
    first = site.start("first")
    wait_until(lambda: site.worker() == "first")
    second = site.start("second")

    first.send(signal.SIGKILL)
    wait_until(lambda: site.worker() == "second")
    fence = site.status()["fence"]

    site.start("third")
    site.stop_between_transactions(second)
    wait_until(lambda: site.worker() == "third")
    assert site.status()["fence"] > fence

    second.send(signal.SIGCONT)
    runs = {run["job"]: run["runs"] for run in site.status()["jobs"]}
    # The node that was stopped finds out; from here on only the third may have run the job.
    wait_until(lambda: "schedules no longer" in second.log.read_text())
    wait_until(
        lambda: {run["job"]: run["runs"] for run in site.status()["jobs"]}["expire-visits"] > runs["expire-visits"] + 2
    )
    assert (site.worker(), site.holder()) == ("third", "third")

    site.nodes[-1].send(signal.SIGTERM)
    assert site.nodes[-1].process.wait(PATIENCE_S) == 0
    wait_until(lambda: site.worker() == "second")


def test_a_database_that_went_away_is_found_again(tmp_path: Path) -> None:
    """The file is moved aside and back, with nobody's hand on the scheduler."""
    with open_database("sqlite", tmp_path) as url:
        site = Site(build_installation(tmp_path, url))
        try:
            node = site.start("first")
            wait_until(lambda: site.worker() == "first")
            database = tmp_path / "kms.db"
            aside = [path.rename(path.with_name(f"aside-{path.name}")) for path in tmp_path.glob("kms.db*")]
            wait_until(lambda: "nothing is scheduled" in node.log.read_text())
            for path in aside:
                path.rename(database.with_name(path.name.removeprefix("aside-")))
            runs = site.status()["jobs"]
            wait_until(lambda: site.status()["jobs"] != runs and site.holder() == "first")
        finally:
            for node in site.nodes:
                node.end()


def test_a_stopped_nodes_open_transaction_is_cut_off_before_another_works(tmp_path: Path) -> None:
    """PostgreSQL: the stopped node holds the lease's row; the other waits until the database has ended it."""
    with ExitStack() as stack:
        url = stack.enter_context(open_database("postgresql", tmp_path))
        stopped, other = (stack.enter_context(closing_store(url)) for _ in range(2))
        one = LeaseKeeper(store=stopped, holder="one", seconds=2)
        two = LeaseKeeper(store=other, holder="two", seconds=2)
        assert one.keep()
        refusals: list[KmsError] = []
        begun, go_on = threading.Event(), threading.Event()

        def work() -> None:
            try:
                with FencedStore(stopped, one).transaction() as tx:
                    tx.alarms.raise_(build_alarm())
                    begun.set()
                    assert go_on.wait(PATIENCE_S)
                    tx.alarms.raise_(build_alarm(2, subject="later"))
            except KmsError as error:
                refusals.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        assert begun.wait(PATIENCE_S)
        wait_until(two.keep)
        assert two.fence == 2
        go_on.set()
        worker.join(PATIENCE_S)
        assert [refusal.code for refusal in refusals] == [Code.DATABASE_UNAVAILABLE]
        with other.transaction() as tx:
            assert tx.alarms.list_open() == []
        with pytest.raises(KmsError) as error, FencedStore(stopped, one).transaction():
            pytest.fail("the block was entered")
        assert error.value.code is Code.LEASE_LOST
