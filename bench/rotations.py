"""What a rotation costs: server CPU against the HSM's and against bare requests, its calls counted, and two processes.

Rules: CPU is that of the workers, from /proc, over many rotations after some that are not counted; the terminals are in
this process. Counting runs are others than measuring runs.
"""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mode
from tempfile import TemporaryDirectory

from bench.bare_server import split_requests
from bench.cpu import list_children, read_cpu
from bench.fleet import SPY, Fleet, Protocol, read_server_cpu
from bench.needed import NEEDS, Job, build_job_text
from bench.recorded_server import BEGIN, STATEMENT, read_recorded
from demo.installation import PROJECT, SOFTHSM2_LIBRARY
from terminal.client import open_http
from terminal.config import load_config
from terminal.relay import Relay
from tests.functional.site import Delivered, find_free_port

NEEDED = {
    "SCP02 i=15, level 03": "scp02-i15",
    "SCP02 i=55, level 03": "scp02-i55",
    "SCP03 S8 i=70, level 33": "scp03-s8",
    "SCP03 S16 i=71, level 33": "scp03-s16",
}
COUNTED = 5  # rotations, of which the most frequent count is taken: the server's watches add to some
I_PSEUDO_RANDOM = 0x55
_CALL = re.compile(r"^\d+: (C_\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of one rotation. `bare`: of four mTLS requests with the same SQL."""

    protocol: str
    server: float
    hsm: float
    bare: float

    @property
    def ratio(self) -> float:
        """The server's CPU against that of the calls it needs."""
        return self.server / self.hsm

    @property
    def rest_ratio(self) -> float:
        """What is not HSM, against bare requests with the same SQL."""
        return (self.server - self.hsm) / self.bare


@dataclass(frozen=True)
class Counts:
    """What one rotation takes. `needed_calls`: PKCS#11 calls of the fixed list; `calls`: those that were made."""

    protocol: str
    calls: int
    needed_calls: int
    statements: int
    transactions: int
    requests: int
    apdus: int
    by_name: dict[str, int]
    by_statement: dict[str, int]


@dataclass(frozen=True)
class Scaling:
    """Rotations per second of server CPU, by number of server processes. `shares`: how the last ones shared it."""

    one: float
    two: float
    shares: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """What a rotation costs with one process against with two: 1 is no more."""
        return self.two / self.one


def measure_cost(fleet: Fleet, protocol: Protocol, rounds: int) -> Cost:
    """Measure one protocol: every card is rotated `rounds` times."""
    cards = fleet.cards[protocol]
    with fleet.serving() as server, fleet.relay() as relay:
        fleet.force(cards)
        fleet.rotate(relay, cards)  # statements are compiled, the connection's templates checked
        spent = 0.0
        for _ in range(rounds):
            fleet.force(cards)
            before = read_server_cpu(server)
            fleet.rotate(relay, cards)
            spent += read_server_cpu(server) - before
    count = rounds * len(cards)
    hsm = _measure_needed(fleet, protocol, max(20, count))
    return Cost(protocol.name, spent / count * 1000, hsm * 1000, _measure_bare(fleet, protocol, rounds) * 1000)


def _measure_needed(fleet: Fleet, protocol: Protocol, rotations: int) -> float:
    folder = fleet.site.folder
    job = Job(
        module=str(SOFTHSM2_LIBRARY),
        token_label="issuer",  # noqa: S106 - a label, no secret
        pin_file=str(folder / "issuer" / "hsm.pin"),
        environment={"SOFTHSM2_CONF": str(folder / "softhsm" / "softhsm2.conf")},
        needs=NEEDED[protocol.name],
        transient=True,
        rotations=rotations,
    )
    done = run_child("bench.needed", build_job_text(job))
    return float(done)


def run_child(module: str, text: str) -> str:
    """Run a module of this package with a text on standard input; what it printed."""
    done = subprocess.run(  # noqa: S603 - this project's own program
        [sys.executable, "-m", module], input=text, capture_output=True, text=True, check=False, cwd=PROJECT
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def _record(fleet: Fleet, cards: Sequence[Delivered], rounds: int, record: Path) -> None:
    with fleet.serving(environment={"KMS_BENCH_SQL": str(record)}), fleet.relay() as relay:
        fleet.rotate(relay, cards[:0])
        for _ in range(rounds):
            fleet.rotate(relay, cards)


def _measure_bare(fleet: Fleet, protocol: Protocol, rounds: int) -> float:
    """CPU seconds of the bare server's worker for the requests of one rotation."""
    cards = fleet.cards[protocol]
    record, copy = fleet.site.folder / "bare.sql", fleet.site.folder / "bare.db"
    for path in (record, copy):
        path.unlink(missing_ok=True)
    fleet.force(cards)
    with contextlib.closing(sqlite3.connect(fleet.database)) as source, contextlib.closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    _record(fleet, cards, 1, record)
    requests = split_requests(read_recorded(record))
    spent = 0.0
    for _ in range(rounds):
        with _copy_database(copy) as database, _serve_bare(fleet, record, database) as (worker, port):
            config = load_config(fleet.site.terminal_config("terminal-1"))
            with open_http(config) as client:
                before = read_cpu(worker)
                for _ in requests:
                    client.post(f"https://localhost:{port}/", json={"report": "x" * 400}).raise_for_status()
                spent += read_cpu(worker) - before
    return spent / (rounds * len(cards))


@contextlib.contextmanager
def _copy_database(path: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=path.parent) as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy


@contextlib.contextmanager
def _serve_bare(fleet: Fleet, record: Path, database: Path) -> Iterator[tuple[int, int]]:
    port = find_free_port()
    arguments = [str(fleet.site.installation.platform_config), str(record), str(database), str(port)]
    with fleet.site.installation.log.open("a") as log:
        master = subprocess.Popen(  # noqa: S603 - this project's own program
            [sys.executable, "-m", "bench.bare_server", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=PROJECT,
            start_new_session=True,
        )
    try:
        if master.stdout is None or master.stdout.readline() != "ready\n":
            raise RuntimeError(fleet.site.installation.log.read_text()[-3000:])
        yield list_children(master.pid)[0], port
    finally:
        os.killpg(master.pid, signal.SIGKILL)
        master.wait()
        if master.stdout is not None:
            master.stdout.close()


def count_rotation(fleet: Fleet, protocol: Protocol) -> Counts:
    """Count what one rotation takes, each kind by itself."""
    cards = (fleet.cards[protocol] * COUNTED)[:1]
    taken: list[tuple[int, int]] = []
    statements: list[list[str]] = []
    transactions: list[int] = []
    calls: list[Counter[str]] = []
    record, spied = fleet.site.folder / "counted.sql", fleet.site.folder / "spy.log"
    environment = {"PKCS11SPY": str(SOFTHSM2_LIBRARY), "PKCS11SPY_OUTPUT": str(spied), "KMS_BENCH_SQL": str(record)}
    for path in (record, spied):
        path.unlink(missing_ok=True)
    with fleet.serving(environment=environment, module=SPY), fleet.relay() as relay:
        for number in range(COUNTED + 1):
            fleet.force(cards)
            seen, done = spied.stat().st_size, record.stat().st_size if record.exists() else 0
            found = fleet.rotate(relay, cards)
            if number == 0:
                continue  # the master is looked up, templates are checked
            taken += found
            with spied.open(errors="replace") as log:
                log.seek(seen)
                calls.append(Counter(_CALL.findall(log.read())))
            recorded = list(read_recorded(record, done))
            statements.append([item.text for item in recorded if item.kind == STATEMENT])
            transactions.append(sum(item.kind == BEGIN for item in recorded))
    usual = mode(item.total() for item in calls)
    least = next(item for item in calls if item.total() == usual)
    usual = mode(len(item) for item in statements)
    fewest = next(item for item in statements if len(item) == usual)
    return Counts(
        protocol=protocol.name,
        calls=least.total(),
        needed_calls=sum(need.calls for need in NEEDS[NEEDED[protocol.name]]) + _find_difference(protocol),
        statements=len(fewest),
        transactions=mode(transactions),
        requests=min(item[0] for item in taken),
        apdus=min(item[1] for item in taken),
        by_name=dict(least.most_common()),
        by_statement=dict(Counter(_name_statement(text) for text in fewest).most_common()),
    )


def _find_difference(protocol: Protocol) -> int:
    """Calls by which the cards and the token here differ from the list's."""
    if protocol.scp02_i is None:
        return 0
    # SoftHSM2 does not wrap triple DES keys: five calls instead of two, three times. The list's AID has 8 bytes, this
    # one's 7 fill one padded block: each of i=55's two checks of a card challenge is one operation less.
    return 9 - (6 if protocol.scp02_i == I_PSEUDO_RANDOM else 0)


def _name_statement(text: str) -> str:
    words = text.replace("\n", " ").split()
    if words[0] == "SELECT":
        return f"SELECT {words[words.index('FROM') + 1]}"
    return f"INSERT {words[2]}" if words[0] == "INSERT" else f"{words[0]} {words[1]}"


def measure_scaling(fleet: Fleet, cards: Sequence[Delivered], terminals: Sequence[str], rounds: int) -> Scaling:
    """Rotations per second of server CPU with one and with two server processes, several terminals at once."""
    one, _ = _measure_processes(fleet, cards, terminals, rounds, 1)
    two, shares = _measure_processes(fleet, cards, terminals, rounds, 2)
    return Scaling(one, two, shares)


def _measure_processes(
    fleet: Fleet, cards: Sequence[Delivered], terminals: Sequence[str], rounds: int, workers: int
) -> tuple[float, tuple[float, ...]]:
    spent: Counter[int] = Counter()  # a Counter also adds seconds
    with fleet.serving(workers=workers) as server, contextlib.ExitStack() as open_relays:
        relays = [open_relays.enter_context(fleet.relay(name)) for name in terminals]
        processes = list_children(server.process.pid if server.process else 0)
        for number in range(rounds + 1):
            fleet.force(cards)
            before = {pid: read_cpu(pid) for pid in processes}
            _rotate_at_once(fleet, relays, cards)
            if number > 0:  # the first compiles and checks
                spent.update({pid: read_cpu(pid) - before[pid] for pid in processes})
    total = sum(spent.values())
    return rounds * len(cards) / total, tuple(seconds / total for seconds in spent.values() if seconds)


def _rotate_at_once(fleet: Fleet, relays: Sequence[Relay], cards: Sequence[Delivered]) -> None:
    failed: list[BaseException] = []

    def serve(number: int, relay: Relay) -> None:
        try:
            fleet.rotate(relay, cards[number :: len(relays)])
        except BaseException as error:  # noqa: BLE001 - told to whoever started the thread
            failed.append(error)

    threads = [threading.Thread(target=serve, args=item) for item in enumerate(relays)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
