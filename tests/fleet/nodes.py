"""Two nodes of one platform on one PostgreSQL, terminals that use either, and what befalls the nodes.

Rules: each node is `kms serve` and `kms scheduler` with configurations, ports and a name of its own; the token is the
same folder for both (on one machine; two machines share an HSM). Each request of a terminal goes where the one before
went until that node does not answer, so a visit changes nodes in the middle. What happens is drawn from a seed.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import httpx

from demo.installation import BIN, PROJECT, Installation, make_vendor_master
from terminal.client import ServerClient, open_http
from terminal.errors import TerminalError
from terminal.visits import serve_card
from tests.functional.channel_prober import ChannelProber
from tests.functional.site import READER, TRANSIT_SSD, Delivered, Server, Site, find_free_port, power
from tests.functional.site_database import PostgresDatabase, make_database

PATIENCE_S = 90
REQUEST_S = 3  # a node that is stopped is given up after that
QUIET_S = 0.1  # between two looks of a terminal for which nothing waits
MAKE_DUE = f"""
UPDATE key_sets SET rotate_at = now() - interval '1 second' WHERE id IN (
    SELECT k.id FROM key_sets k JOIN security_domains d ON d.id = k.security_domain_id
    WHERE k.state = 'ACTIVE' AND k.purpose = 'ssd' AND k.rotate_at > now() AND d.aid = '\\x{TRANSIT_SSD}')
"""  # noqa: S608 - a constant of the test's
SCHEDULER = """
[scheduler]
lease_seconds = 3
sweep_every = 1
visits_every = 2
campaigns_every = 1
audit_every = 2
"""


@dataclass
class Scheduler:
    """`kms scheduler`, as `Server` is `kms serve`."""

    config: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [str(BIN / "kms"), "--config", str(self.config), "scheduler"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


@dataclass
class Node:
    """One node. `ports`: of the API, of the server's metrics and of the scheduler's."""

    name: str
    server: Server
    scheduler: Scheduler
    ports: tuple[int, int, int]

    @property
    def parts(self) -> dict[str, Server | Scheduler]:
        return {f"{self.name}, server": self.server, f"{self.name}, scheduler": self.scheduler}

    def read_metrics(self) -> dict[str, float]:
        """The server's samples, as Prometheus reads them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[1]}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


class Roads(httpx.BaseTransport):
    """A terminal's way to the nodes: the one that last answered, else another."""

    def __init__(self, inner: httpx.BaseTransport, ports: list[int], random: Random) -> None:
        self._inner = inner
        self._ports = ports
        self._random = random
        self._port = random.choice(ports)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._random.random() < 1 / 20:
            self._change()
        request.url = request.url.copy_with(port=self._port)
        request.headers["Host"] = f"localhost:{self._port}"
        try:
            answer = self._inner.handle_request(request)
            answer.read()
        except httpx.TransportError:
            self._change()
            raise
        if answer.status_code >= 500:
            self._change()
        return answer

    def close(self) -> None:
        self._inner.close()

    def _change(self) -> None:
        self._port = self._random.choice([port for port in self._ports if port != self._port])


@dataclass
class Cluster:
    """The platform, its nodes and its cards. `befell`: what was done to the nodes; `errors`: what nobody expected."""

    site: Site
    nodes: list[Node]
    random: Random
    cards: list[Delivered] = field(default_factory=list)
    befell: Counter[str] = field(default_factory=Counter)
    errors: list[BaseException] = field(default_factory=list)
    locks: dict[str, threading.Lock] = field(default_factory=dict)

    @property
    def tokens(self) -> Path:
        return self.site.folder / "softhsm" / "tokens"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        return self.site.database.execute(statement)

    def count_done(self) -> int:
        """Rotations so far."""
        ((count,),) = self.execute(
            "SELECT count(*) FROM key_updates WHERE state = 'DONE' AND reason IN ('expiry', 'forced')"
        )
        assert isinstance(count, int)
        return count

    def make_due(self) -> None:
        """Time goes by: every operative key set in force is due now, as if its lead had been reached."""
        self.execute(MAKE_DUE)

    def make_nothing_due(self) -> None:
        self.execute("UPDATE key_sets SET rotate_at = now() + interval '300 days' WHERE rotate_at <= now()")

    def serve_terminal(self, name: str, random: Random, stop: threading.Event) -> None:
        """One terminal: it looks what waits and visits a card for which something does, until told to stop."""
        config = self.site.load_terminal(name)
        while not stop.is_set():
            try:
                with self.site.relay(name, http=lambda client: self._open_roads(client, random), reconnect=60) as relay:
                    client = relay.transport
                    assert isinstance(client, ServerClient)
                    while not stop.is_set():
                        waiting = {bytes.fromhex(item.identity) for item in client.list_pending()}
                        mine = [card for card in self.cards if card.identity in waiting]
                        if not mine:
                            stop.wait(QUIET_S)
                            continue
                        card = random.choice(mine)
                        with self.locks.setdefault(card.name, threading.Lock()):  # one card is at one place
                            serve_card(relay, power(card.card), card.identity)
            except TerminalError as error:
                self.befell[f"{config.journal_directory.parent.name}: {error.code}"] += 1
                stop.wait(QUIET_S)
            except BaseException as error:  # noqa: BLE001 - it is told to the test, whatever it is
                self.errors.append(error)
                return

    def trouble(self, node: Node, random: Random, stop: threading.Event, rounds: int) -> None:
        """Kill, stop and continue the node's parts in random order, so many rounds and then on until told to stop."""
        try:
            while rounds > 0 or not stop.is_set():
                rounds -= 1
                blows = [(part, how) for part in node.parts for how in ("SIGKILL", "SIGSTOP")]
                random.shuffle(blows)
                for part, how in blows:
                    if stop.is_set() and rounds < 0:
                        break
                    time.sleep(random.uniform(0.5, 3.0))
                    self._strike(node.parts[part], how, random)
                    self.befell[f"{part}: {how}"] += 1
        except BaseException as error:  # noqa: BLE001 - it is told to the test, whatever it is
            self.errors.append(error)

    @staticmethod
    def _strike(part: Server | Scheduler, how: str, random: Random) -> None:
        if how == "SIGKILL":
            part.kill()
            time.sleep(random.uniform(0, 0.5))
            part.start()
        else:
            with part.frozen():
                # Now and then longer than the lease, and than a terminal waits.
                time.sleep(random.choice((0.1, 0.5, 1.5, 4.5)))

    def ask_readiness(self, node: Node) -> int:
        """Status of the node's /readyz."""
        config = replace(self.site.load_terminal("terminal-1"), server_url=f"https://localhost:{node.ports[0]}")
        with open_http(config) as http:
            return http.get("/readyz").status_code

    def measure(self, node: Node, status: int, times: int = 4) -> float:
        """Seconds until the node answers so, several times in a row (its workers take turns)."""
        begun = since = time.monotonic()
        agreed = 0
        while agreed < times:
            now = time.monotonic()
            assert now - begun < PATIENCE_S, f"{node.name} was never {status}"
            if self.ask_readiness(node) == status:
                since = now if agreed == 0 else since
                agreed += 1
            else:
                agreed = 0
                time.sleep(0.05)
        return since - begun

    def drain(self) -> None:
        """Bring every card once more, until nothing is open."""
        give_up = time.monotonic() + PATIENCE_S
        while waiting := [card for card in self.cards if self._is_open(card)]:
            assert time.monotonic() < give_up, f"never done: {[card.name for card in waiting]}"
            for card in waiting:
                self.site.visit(card)

    def _is_open(self, card: Delivered) -> bool:
        return bool(self.site.kms("updates", "list", "--card", card.name, "--open"))

    def _open_roads(self, client: httpx.Client, random: Random) -> httpx.Client:
        ports = [node.ports[0] for node in self.nodes]
        client._transport = Roads(client._transport, ports, random)  # noqa: SLF001 - stands in its way
        return client

    def check_nothing_doubled_or_lost(self) -> int:
        """By the cards and by the records; returns the rotations.

        Each update is done and brought one set of keys that no other brought; the card took each of them once, in
        their order, and holds the last.
        """
        total = 0
        for card in self.cards:
            listed = self.site.kms("updates", "list", "--card", card.name, "--limit", "10000")
            updates = [item for item in listed if item["aid"] == TRANSIT_SSD]
            assert {item["state"] for item in updates} == {"DONE"}, updates
            taken = list_key_values(card)
            assert len(set(taken)) == len(taken), f"{card.name}: keys came back"
            assert len(taken) == len(updates), f"{card.name}: {len(taken)} sets of keys for {len(updates)} updates"
            assert len({item["new_key_set_id"] for item in updates}) == len(updates)
            self.site.check_agreement(card)
            total += sum(item["reason"] != "initial" for item in updates)
        return total


def list_key_values(card: Delivered) -> list[tuple[bytes, ...]]:
    """The keys that the card's SSD held after one another, its initial ones left out."""
    held: list[tuple[bytes, ...]] = []
    for state in card.commits:
        domain = state.find_domain(bytes.fromhex(TRANSIT_SSD))
        for key_set in domain.key_sets if domain is not None else ():
            values = tuple(key.value for key in key_set.keys)
            if not held or held[-1] != values:
                held.append(values)
    return held[1:]


@contextmanager
def open_cluster(seed: int, cards: int) -> Iterator[Cluster]:
    """Prepare a platform on PostgreSQL and have two nodes serve it; `cards` with keys of this platform."""
    folder = Path(tempfile.mkdtemp(prefix="kms-nodes-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = make_database(folder, "issuer", "postgresql")
        assert isinstance(database, PostgresDatabase)
        installation = Installation(folder, find_free_port(), READER, database_url=database.url)
        master = make_vendor_master()
        installation.prepare(master)
        raise_attempts(installation)
        nodes = [build_node(installation, name) for name in ("node-1", "node-2")]
        for node in nodes:
            for part in node.parts.values():
                stack.callback(part.kill)
                part.start()
        text = installation.terminal_config.read_text()
        text = re.sub(r"localhost:\d+", f"localhost:{nodes[0].ports[0]}", text)
        installation.terminal_config.write_text(re.sub(r"(?m)^request = \d+", f"request = {REQUEST_S}", text))
        prober = stack.enter_context(closing(ChannelProber(installation.platform_config)))
        site = Site(installation, master, nodes[0].server, prober, database)
        site.add_terminal("terminal-2")
        cluster = Cluster(site, nodes, Random(seed))  # noqa: S311 - drawn again by its seed
        cluster.cards = [site.keyed(scp_i=(0x55, 0x15)[number % 2]) for number in range(cards)]
        yield cluster


def raise_attempts(installation: Installation) -> None:
    """More visits may break off than a policy forgives: here nodes die each second."""
    folder = installation.folder / "policies"
    shutil.copytree(PROJECT / "config" / "policies", folder)
    for path in folder.glob("*.toml"):
        path.write_text(re.sub(r"(?m)^max_attempts = \d+", "max_attempts = 100", path.read_text()))
    installation.kms("policies", "apply", str(folder), "--expect", "0")


def build_node(installation: Installation, name: str) -> Node:
    ports = find_free_port(), find_free_port(), find_free_port()
    text = installation.platform_config.read_text()
    text = re.sub(r"(?ms)^\[(scheduler|metrics|console)\].*?(?=^\[|^# The catalogue|\Z)", "", text)
    text = re.sub(r"(?m)^port = \d+", f"port = {ports[0]}", text, count=1)
    text = text.replace("[platform]\n", f'[platform]\nnode = "{name}"\n').replace("workers = 2", "workers = 1")
    text += f"{SCHEDULER}\n[metrics]\nport = {ports[1]}\nscheduler_port = {ports[2]}\n"
    config = installation.folder / f"{name}.toml"
    config.write_text(text)
    log = installation.folder / f"{name}.log"
    return Node(name, Server(config, log), Scheduler(config, log.with_suffix(".scheduler.log")), ports)
