"""A platform of its own in a folder, with cards whose keys are replaced again and again, all through the front door."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cpu import read_children_cpu
from demo.installation import BIN, PROJECT, SOFTHSM2_LIBRARY, Installation, make_vendor_master
from kms.bootstrap import open_platform
from kms.config import load_config as load_platform_config
from kms.service.updates import UpdateService
from terminal.client import ServerClient, open_http
from terminal.config import load_config
from terminal.journal import Journal
from terminal.relay import Relay
from terminal.visits import serve_card
from tests.functional.site import TRANSIT, TRANSIT_SSD, Counted, Delivered, Server, Site, find_free_port
from tests.functional.site_database import SqliteDatabase

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")


@dataclass(frozen=True)
class Protocol:
    """A card's secure channel. `name`: as in the table; `vendor_type`: of the card's first keys."""

    name: str
    scp02_i: int | None
    scp03_i: int | None

    @property
    def vendor_type(self) -> str:
        """The key type of its manufacturer's master."""
        return "DES2" if self.scp02_i is not None else "AES128"


PROTOCOLS = (
    Protocol("SCP02 i=15, level 03", 0x15, None),
    Protocol("SCP02 i=55, level 03", 0x55, None),
    Protocol("SCP03 S8 i=70, level 33", None, 0x70),
    Protocol("SCP03 S16 i=71, level 33", None, 0x71),
)


@dataclass
class RecordedServer(Server):
    """`kms serve` with other surroundings. `module`: what is run instead of the `kms` program."""

    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str | Path] = (BIN / "kms",)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this project's own program
                [*self.program, "--config", self.config, "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | dict(self.environment),
                cwd=PROJECT,
            )
        if self.process.stdout is None or not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError(self.log.read_text()[-3000:])


@dataclass
class Fleet:
    """A site and its cards, keyed once, by protocol."""

    site: Site
    updates: UpdateService
    cards: dict[Protocol, list[Delivered]]

    @property
    def database(self) -> Path:
        """The platform's database file."""
        return self.site.folder / "issuer" / "kms.db"

    @contextmanager
    def serving(
        self, *, workers: int = 1, environment: Mapping[str, str] | None = None, module: Path | None = None
    ) -> Iterator[Server]:
        """Serve with so many workers. `environment`: records what it does; `module`: another PKCS#11 library."""
        config = self.site.installation.platform_config
        plain = config.read_text()
        changed = plain.replace("workers = 2", f"workers = {workers}")
        if module is not None:
            changed = changed.replace(str(SOFTHSM2_LIBRARY), str(module))
        path = config.with_name("bench.toml")
        path.write_text(changed)
        program: Sequence[str | Path] = (BIN / "kms",)
        if environment:
            program = (sys.executable, "-m", "bench.recorded_server")
        server = RecordedServer(path, self.site.installation.log, environment=environment or {}, program=program)
        server.start()
        try:
            yield server
        finally:
            server.kill()

    def force(self, cards: Sequence[Delivered]) -> None:
        """Ask for new keys of each card's security domain."""
        for card in cards:
            self.updates.force(card.identity, bytes.fromhex(TRANSIT_SSD), actor="bench")

    @contextmanager
    def relay(self, name: str = "terminal-1") -> Iterator[Relay]:
        """A terminal in this process, whose connection stays open from visit to visit, as a fleet's does."""
        config = load_config(self.site.terminal_config(name))
        with Journal(config.journal_directory) as journal, ServerClient(open_http(config), 20.0, _no_retry) as client:
            yield Relay(client, journal)

    def rotate(
        self, relay: Relay, cards: Sequence[Delivered], before_each: Callable[[int], None] = lambda _number: None
    ) -> list[tuple[int, int]]:
        """Replace each card's keys; HTTP requests and APDUs of each visit."""
        taken = []
        for number, delivered in enumerate(cards):
            before_each(number)
            card = Counted(delivered.card)
            card.reset()
            visit = serve_card(relay, card, delivered.identity).visit
            if visit is None or "done" not in visit.notifications:
                raise RuntimeError(f"a rotation did not end well: {visit}")
            taken.append((visit.requests, len(card.names)))
        return taken


def _no_retry(problem: str, pause: float) -> None:
    raise RuntimeError(f"the server did not answer at once ({problem}; {pause} s)")


@contextmanager
def open_fleet(folder: Path, protocols: Sequence[Protocol], cards: int) -> Iterator[Fleet]:
    """Set a platform up and give so many cards of each protocol their first keys (flow 2)."""
    installation = Installation(folder, find_free_port(), "none")
    master = make_vendor_master()
    installation.prepare(master)
    server = Server(installation.platform_config, installation.log)
    site = Site(installation, master, server, None, SqliteDatabase(folder / "issuer" / "kms.db"))  # type: ignore[arg-type] # nobody probes channels here
    platform = open_platform(load_platform_config(installation.platform_config))  # its token is never opened
    fleet = Fleet(site, platform.updates, {})
    for protocol in protocols:
        vendor = master if protocol.vendor_type == "DES2" else site.import_vendor("bench-aes", protocol.vendor_type)
        made = [site.deliver(scp_i=protocol.scp02_i, scp03_i=protocol.scp03_i, vendor=vendor) for _ in range(cards)]
        site.enrol(*made)
        fleet.cards[protocol] = made
    with fleet.serving():
        for card in [card for made in fleet.cards.values() for card in made]:
            summary = site.apply(card, TRANSIT)
            if summary is None or "done" not in summary.notifications:
                raise RuntimeError(f"a card did not get its keys: {summary}")
    try:
        yield fleet
    finally:
        platform.store.dispose()


def read_server_cpu(server: Server) -> float:
    """CPU seconds of a server's workers."""
    if server.process is None:
        raise RuntimeError("the server does not run")
    return read_children_cpu(server.process.pid)
