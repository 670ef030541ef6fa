"""The four flows and the take-over on one card, watched: what crossed, what was written, what was in memory.

Rules: the card lives in this process and tells every key it ever held. Two visits are made by `kms-terminal` itself
with the card through PC/SC, each stopped while it holds the Order with the new keys, and dumped; the others by the
terminal's own code in this process. Databases and journals are copied whenever a terminal has taken an Order, since
wrapped commands and the hand-over's envelope are erased later.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from demo.installation import Installation, VendorMaster, exchange_keys, make_vendor_master
from terminal.client import ServerClient, open_http
from terminal.config import load_config
from terminal.journal import Journal
from terminal.relay import Listener, Relay
from terminal.virtual_card import VirtualCard, VpcdConnection
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.model import CardState
from terminal.virtual_card.personality import DEFAULT_ISD_AID, Personality, build_factory_state
from terminal.visits import new_session_id, serve_card
from tests.functional.reader_slot import in_reader
from tests.functional.site import READER, READER_PORT, TRANSIT, TRANSIT_SSD, find_free_port
from tests.functional.site_database import SiteDatabase, make_database
from tests.key_boundary.platforms import SpiedInstallation, dump_worker
from tests.key_boundary.tls_record import recording

PROVIDED, PROVIDED_SSD = "A000000952000101", "A0000009520001"
KEY_COMMANDS = ("PUT KEY", "STORE DATA")
BEFORE_PUT_KEY = "before-apdu 4"  # of a replacement: SELECT, INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, PUT KEY


@dataclass
class Card:
    """The card, and all states it was ever in."""

    card: VirtualCard
    states: list[CardState]
    row: str

    @property
    def identity(self) -> bytes:
        return self.card.state.iin + self.card.state.cin

    def list_keys(self) -> dict[str, bytes]:
        """Every key that it ever held, named by security domain, version and identifier."""
        return {
            f"key {key_set.kvn:02X}/{key.kid} of {domain.aid.hex().upper()}": key.value
            for state in self.states
            for domain in state.domains
            for key_set in domain.key_sets
            for key in key_set.keys
        }


@dataclass
class Scene:
    """All that was seen. `sent`: by flow, the platform that keyed the card and the commands with keys in them."""

    folder: Path
    issuer: SpiedInstallation
    provider: SpiedInstallation
    master: VendorMaster
    card: Card
    databases: dict[str, SiteDatabase]
    sent: dict[str, list[str]] = field(default_factory=dict)
    terminals: dict[str, bytes] = field(default_factory=dict, repr=False)
    workers: dict[str, bytes] = field(default_factory=dict, repr=False)

    def list_keys(self) -> dict[str, bytes]:
        """Every key that must not be seen: the card's, and the manufacturer's master with its components."""
        components = {f"component {number}": part for number, part in enumerate(self.master.components, start=1)}
        return {**self.card.list_keys(), "the vendor's master": self.master.value, **components}

    def list_files(self) -> Iterator[tuple[str, bytes]]:
        """Every file but the spy's, once if there are copies of it, and what commands and terminals printed."""
        seen: set[bytes] = set()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.parent.name != "spy" and (content := path.read_bytes()) not in seen:
                seen.add(content)
                yield str(path.relative_to(self.folder)), content
        for platform, database in self.databases.items():
            for name, content in database.read_files():
                yield f"{platform}'s database/{name}", content
        for installation in (self.issuer, self.provider):
            yield f"what the commands of the {installation.name} printed", "\n".join(installation.said).encode()


def play(folder: Path) -> Scene:
    """Set both platforms up and run everything."""
    databases = {name: make_database(folder, name) for name in ("issuer", "provider")}
    issuer = SpiedInstallation(folder, find_free_port(), READER, database_url=databases["issuer"].url)
    provider = SpiedInstallation(
        folder, find_free_port(), READER, "provider", issuer.port, database_url=databases["provider"].url
    )
    master = make_vendor_master()
    card = _make_card(master)
    scene = Scene(folder, issuer, provider, master, card, databases)
    with ExitStack() as stack:
        stack.enter_context(issuer.commanding())
        stack.enter_context(provider.commanding())
        issuer.prepare(master)
        provider.prepare()
        exchange_keys(issuer, provider)
        servers = [stack.enter_context(installation.serving()) for installation in (issuer, provider)]
        _run_flows(scene)
        for installation, server in zip((issuer, provider), servers, strict=True):
            _show_everything(scene, installation)
            scene.workers[installation.name] = dump_worker(server)
    return scene


def _make_card(master: VendorMaster) -> Card:
    kdd, cin = secrets.token_bytes(10), secrets.token_bytes(10)  # a CIN inside the provider's range
    keys = derive_card_keys(master.value, kdd, Diversification.VISA2)
    state = build_factory_state(keys, kvn=0xFF, scp02_i=0x55, kdd=kdd, cin=cin)
    states = [state]
    card = VirtualCard(state, Personality(keep_factory_set=True), on_commit=states.append)
    identity = (state.iin + state.cin).hex().upper()
    isd = DEFAULT_ISD_AID.hex().upper()
    return Card(card, states, f"{identity},{kdd.hex()},{isd},FF,55,,{master.name},visa2,default")


def _run_flows(scene: Scene) -> None:
    issuer, provider, card = scene.issuer, scene.provider, scene.card
    cards = scene.folder / "cards.csv"
    header = "identity,kdd,isd_aid,isd_kvn,scp02_i,scp03_i,vendor_master,diversification,profile"
    cards.write_text(f"{header}\n{card.row}\n")
    issuer.kms("cards", "import", str(cards))
    name = card.identity.hex().upper()
    _visit(scene, "take-over", issuer)
    _visit(scene, "flow 2", issuer, TRANSIT)
    issuer.kms("updates", "force", "--card", name, "--aid", TRANSIT_SSD)
    _visit_by_command(scene, "flow 4", issuer)
    _visit(scene, "flow 3", provider, PROVIDED)
    provider.kms("updates", "force", "--card", name, "--aid", PROVIDED_SSD)
    _visit_by_command(scene, "flow 5", provider)


@dataclass
class _Listening(Listener):
    """Hears which commands were sent."""

    names: list[str] = field(default_factory=list)

    def on_apdu(self, number: int, name: str, status: str) -> None:  # noqa: ARG002 - the listener's interface
        self.names.append(name)


def _visit(scene: Scene, flow: str, installation: Installation, application: str = "") -> None:
    """A visit by the terminal's code in this process."""
    heard = _Listening()
    config = load_config(installation.terminal_config)
    scene.card.card.reset()
    with (
        recording(scene.folder / "tls"),
        Journal(config.journal_directory) as journal,
        ServerClient(open_http(config)) as client,
    ):

        def watch(boundary: str) -> None:
            if boundary == "order-journalled":
                _copy_records(scene, flow)

        def open_session() -> str:
            if not application:
                return new_session_id()
            return client.apply(scene.card.identity, bytes.fromhex(application)).session_id

        relay = Relay(client, journal, listener=heard, observer=watch)
        serve_card(relay, scene.card.card, scene.card.identity, open_session)
    _check_done(scene, flow, installation, heard.names)


def _visit_by_command(scene: Scene, flow: str, installation: SpiedInstallation) -> None:
    """A visit by `kms-terminal`, whose memory is looked into while it holds the Order with the keys."""
    with in_reader(VpcdConnection(scene.card.card, READER_PORT)):
        held = installation.hold_terminal(BEFORE_PUT_KEY, "once", "--json")
        try:
            scene.terminals[flow] = held.dump()
            _copy_records(scene, flow)
        finally:
            printed = held.go_on()
    events = [json.loads(line) for line in printed.splitlines()]
    _check_done(scene, flow, installation, [event["name"] for event in events if event["event"] == "command"])


def _check_done(scene: Scene, flow: str, installation: Installation, names: list[str]) -> None:
    result = installation.kms_json("visits", "list", "--limit", "1")[0]["result"]
    assert result == "done", f"{flow}: {result}"
    scene.sent[flow] = [name for name in names if name in KEY_COMMANDS]


def _copy_records(scene: Scene, flow: str) -> None:
    """Databases with their write-ahead logs, and journals, as they are at this moment."""
    copies = scene.folder / "copies"
    copies.mkdir(exist_ok=True)
    number = len(list(copies.iterdir())) + 1
    journals = [path for path in scene.folder.rglob("*.journal") if copies not in path.parents]
    found = {str(path.relative_to(scene.folder)): path.read_bytes() for path in journals}
    for platform, database in scene.databases.items():
        found |= {f"{platform}/{name}": content for name, content in database.read_files()}
    for name, content in found.items():
        target = copies / f"{number:03} {flow}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _show_everything(scene: Scene, installation: Installation) -> None:
    name = scene.card.identity.hex().upper()
    visits = installation.kms_json("visits", "list")
    for arguments in (
        ("cards", "show", name),
        ("ssds", "show", name, PROVIDED_SSD),
        ("keys", "list"),
        ("hsm", "status"),
        ("terminals", "list"),
        ("updates", "list"),
        ("audit", "tail"),
        *(("visits", "show", visit["id"]) for visit in visits),
    ):
        installation.kms(*arguments)
        installation.kms(*arguments, "--json")
