"""The take-over, the four flows and the move to AES, by cards of every kind, watched: what crossed, what was in memory.

Rules: the cards live in this process and tell every key that they ever held; their session keys are computed from what
they exchanged. Some visits are made by `kms-terminal` itself with the card through PC/SC, stopped while it holds the
Order with the new keys: it and the server are dumped then. The others are made by the terminal's own code in this
process. Databases and journals are copied whenever a card has answered a command with keys in it, since wrapped
commands and the hand-over's envelope are erased when that has been reported.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from demo.installation import Installation, NssToken, VendorMaster, exchange_keys, make_vendor_master
from terminal.client import ServerClient, open_http
from terminal.config import load_config
from terminal.journal import Journal
from terminal.relay import Listener, Relay
from terminal.virtual_card import VpcdConnection
from terminal.visits import new_session_id, serve_card
from tests.fakes.nss_tokens import get_nss_tokens
from tests.functional.reader_slot import in_reader
from tests.functional.site import ISD_AID, READER, READER_PORT, TRANSIT, TRANSIT_SSD, find_free_port
from tests.functional.site_database import SiteDatabase, make_database
from tests.key_boundary.cards import ISSUER, KINDS, PROVIDER, Card, make_card
from tests.key_boundary.platforms import SpiedInstallation, dump_worker
from tests.key_boundary.records import Copies
from tests.key_boundary.tls_record import recording

PROVIDED, PROVIDED_SSD = "A000000952000101", "A0000009520001"
KEY_COMMANDS = ("PUT KEY", "STORE DATA")
BEFORE_PUT_KEY = "before-apdu 4"  # of a replacement: SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, PUT KEY
# Visits that are stopped while the terminal holds the Order. The server is looked into during the last.
HELD = (("SCP02", "flow 4"), ("SCP03 S16, AES-256", "flow 5"))
# By make of token, the databases of issuer and provider: both kinds under each.
DATABASES = {"softhsm2": ("sqlite", "postgresql"), "nss": ("postgresql", "sqlite")}


@dataclass
class Scene:
    """All that was seen. `sent`: by kind of card and flow, the commands with keys in them.

    `strategies`: how each platform says that its token wraps. `terminals`, `workers`: what was in memory, by when it
    was looked into.
    """

    folder: Path
    issuer: SpiedInstallation
    provider: SpiedInstallation
    masters: list[VendorMaster]
    cards: list[Card]
    databases: dict[str, SiteDatabase]
    copies: Copies
    strategies: dict[str, str] = field(default_factory=dict)
    servers: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    sent: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    terminals: dict[str, bytes] = field(default_factory=dict, repr=False)
    workers: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def sites(self) -> tuple[SpiedInstallation, SpiedInstallation]:
        return self.issuer, self.provider

    def list_static_keys(self) -> dict[str, bytes]:
        return {name: key for card in self.cards for name, key in card.list_static_keys().items()}

    def list_keys(self) -> dict[str, bytes]:
        """Every key that must not be seen: the cards', their sessions', manufacturers' masters and components."""
        keys = self.list_static_keys()
        for card in self.cards:
            keys |= card.list_session_keys()
        for master in self.masters:
            keys[f"the master of {master.name}"] = master.value
            keys |= {f"component {number} of {master.name}": part for number, part in enumerate(master.components, 1)}
        return keys

    def list_files(self) -> Iterator[tuple[str, bytes]]:
        """Every file but the spy's, copies, and what commands and terminals printed."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.parent.name != "spy":
                yield str(path.relative_to(self.folder)), path.read_bytes()
        yield from self.copies.taken
        for platform, database in self.databases.items():
            for name, content in database.read_files():
                yield f"{platform}'s database/{name}", content
        for site in self.sites:
            yield f"what the commands of the {site.name} printed", "\n".join(site.said).encode()


def play(folder: Path, token: str) -> Scene:
    """Set both platforms up on tokens of a make and run everything."""
    databases = {
        name: make_database(folder, name, kind) for name, kind in zip((ISSUER, PROVIDER), DATABASES[token], strict=True)
    }
    own, other = _take_tokens(token)
    ports = find_free_port(), find_free_port()
    issuer = SpiedInstallation(folder, ports[0], READER, database_url=databases[ISSUER].url, nss=own)
    provider = SpiedInstallation(
        folder, ports[1], READER, PROVIDER, ports[0], database_url=databases[PROVIDER].url, nss=other
    )
    masters = {kind.key_type: make_vendor_master(f"vendor-{kind.key_type.lower()}", kind.key_type) for kind in KINDS}
    cards = [make_card(kind, masters[kind.key_type]) for kind in KINDS]
    copies = Copies(folder, databases)
    scene = Scene(folder, issuer, provider, list(masters.values()), cards, databases, copies)
    with ExitStack() as stack:
        for site in scene.sites:
            stack.enter_context(site.commanding())
            site.prepare()
        for master in scene.masters:
            issuer.import_master(master)
        exchange_keys(issuer, provider)
        for site in scene.sites:
            scene.servers[site.name] = stack.enter_context(site.serving())
        _enrol(scene)
        for card in cards:
            for flow in card.kind.flows:
                _run(scene, card, flow)
        for site in scene.sites:
            _show_everything(scene, site)
            scene.strategies[site.name] = site.kms_json("hsm", "status")["wrap_strategy"]
            scene.workers[f"{site.name}, at the end"] = dump_worker(scene.servers[site.name])
    return scene


def _take_tokens(token: str) -> tuple[NssToken, NssToken] | tuple[None, None]:
    return (get_nss_tokens().take(), get_nss_tokens().take()) if token == "nss" else (None, None)


def _enrol(scene: Scene) -> None:
    cards = scene.folder / "cards.csv"
    header = "identity,kdd,isd_aid,isd_kvn,scp02_i,scp03_i,vendor_master,diversification,profile"
    cards.write_text("\n".join((header, *(card.row for card in scene.cards))) + "\n")
    scene.issuer.kms("cards", "import", str(cards))


def _run(scene: Scene, card: Card, flow: str) -> None:
    issuer, provider = scene.issuer, scene.provider
    visit = _visit_by_command if (card.kind.name, flow) in HELD else _visit
    match flow:
        case "take-over":
            visit(scene, card, flow, issuer)
        case "flow 2":
            visit(scene, card, flow, issuer, TRANSIT)
        case "flow 3":
            visit(scene, card, flow, provider, PROVIDED)
        case "flow 4":
            issuer.kms("updates", "force", "--card", card.name, "--aid", TRANSIT_SSD)
            visit(scene, card, flow, issuer)
        case "flow 5":
            provider.kms("updates", "force", "--card", card.name, "--aid", PROVIDED_SSD)
            visit(scene, card, flow, provider)
        case "move":
            how = ("--reason", "key-type", "--key-type", "AES256")
            issuer.kms("updates", "force", "--card", card.name, "--aid", ISD_AID, *how)
            visit(scene, card, flow, issuer)


@dataclass
class _Listening(Listener):
    """Hears which commands were sent, and has copies taken after those with keys."""

    copies: Copies
    moment: str
    names: list[str] = field(default_factory=list)

    def on_apdu(self, number: int, name: str, status: str) -> None:  # noqa: ARG002 - the listener's interface
        self.names.append(name)
        if name in KEY_COMMANDS:
            self.copies.take(self.moment)


def _visit(scene: Scene, card: Card, flow: str, site: Installation, application: str = "") -> None:
    """A visit by the terminal's code in this process."""
    heard = _Listening(scene.copies, f"{flow} of {card.kind.name}")
    config = load_config(site.terminal_config)
    card.card.reset()
    with (
        recording(scene.folder / "tls"),
        Journal(config.journal_directory) as journal,
        ServerClient(open_http(config)) as client,
    ):

        def open_session() -> str:
            if not application:
                return new_session_id()
            return client.apply(card.identity, bytes.fromhex(application)).session_id

        relay = Relay(client, journal, listener=heard)
        serve_card(relay, card.card, card.identity, open_session)
    _check_done(scene, card, flow, site, heard.names)


def _visit_by_command(scene: Scene, card: Card, flow: str, site: SpiedInstallation, application: str = "") -> None:
    """A visit by `kms-terminal`; its memory and the server's are looked into while it holds the Order with the keys."""
    assert not application
    moment = f"{flow} of {card.kind.name}"
    with in_reader(VpcdConnection(card.card, READER_PORT)):
        held = site.hold_terminal(BEFORE_PUT_KEY, "once", "--json")
        try:
            scene.terminals[moment] = held.dump()
            if (card.kind.name, flow) == HELD[-1]:
                scene.workers[f"{site.name}, {moment}"] = dump_worker(scene.servers[site.name])
            scene.copies.take(moment)
        finally:
            printed = held.go_on()
    events = [json.loads(line) for line in printed.splitlines()]
    _check_done(scene, card, flow, site, [event["name"] for event in events if event["event"] == "command"])


def _check_done(scene: Scene, card: Card, flow: str, site: Installation, names: list[str]) -> None:
    visit = site.kms_json("visits", "list", "--limit", "1")[0]
    assert visit["result"] == "done", f"{flow} of {card.kind.name}: {site.kms('visits', 'show', visit['id'])}"
    scene.sent[card.kind.name, flow] = [name for name in names if name in KEY_COMMANDS]


def _show_everything(scene: Scene, site: Installation) -> None:
    """Have every command that shows something print what it knows."""
    visits = [visit["id"] for visit in site.kms_json("visits", "list")]
    names = [card.name for card in scene.cards]
    for name in names:
        site.kms("cards", "show", name, "--json")
        site.kms("ssds", "show", name, PROVIDED_SSD, "--json")
    for visit in visits:
        site.kms("visits", "show", visit, "--json")
    for arguments in (
        ("cards", "show", names[-1]),
        ("ssds", "show", names[-1], PROVIDED_SSD),
        ("visits", "show", visits[0]),
        ("keys", "list"),
        ("hsm", "status"),
        ("hsm", "objects"),
        ("terminals", "list"),
        ("updates", "list"),
        ("audit", "tail"),
    ):
        site.kms(*arguments)
        site.kms(*arguments, "--json")
