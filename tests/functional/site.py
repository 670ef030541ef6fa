"""A site for the functional tests: platform, server, terminals and cards, all real, in one folder.

Rules: whatever changes something goes through the front door: `kms`, `kms-terminal`, TLS, PC/SC. `kms` is run in this
process unless a test is about the process: starting Python takes ten times as long as the command.
"""

import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner, Result
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from demo.installation import BIN, Installation, NssToken, VendorMaster, make_vendor_master
from kms.cli import cli
from terminal.client import ServerClient, open_http
from terminal.config import TerminalConfig, load_config
from terminal.journal import Journal
from terminal.relay import Relay, VisitSummary
from terminal.virtual_card import VirtualCard
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES, CardState, KeySet, StaticKey
from terminal.virtual_card.personality import DEFAULT_IIN, DEFAULT_ISD_AID, Personality, build_factory_state
from terminal.virtual_card.transmission import TransmissionProtocol
from terminal.visits import serve_card
from tests.fakes.nss_tokens import get_nss_tokens
from tests.functional.channel_prober import ChannelProber, Tried
from tests.functional.site_database import SiteDatabase, list_tables, make_database

READER, READER_PORT = "Virtual PCD 00 01", 35964
ISD_AID = DEFAULT_ISD_AID.hex().upper()
TRANSIT, TRANSIT_SSD = "A000000951000101", "A0000009510001"
LOYALTY, LOYALTY_SSD = "A000000951000201", "A0000009510002"
START_SECONDS = 60
_NUMBERS = itertools.count(1)


@dataclass
class Delivered:
    """A card of the test's, as its manufacturer delivered it, and the row that enrols it."""

    card: VirtualCard
    row: str
    commits: list[CardState]

    @property
    def identity(self) -> bytes:
        return self.card.state.iin + self.card.state.cin

    @property
    def name(self) -> str:
        """The identity as the command line takes it."""
        return self.identity.hex().upper()

    def key_sets(self, aid: str) -> tuple[KeySet, ...]:
        domain = self.card.state.find_domain(bytes.fromhex(aid))
        return domain.key_sets if domain else ()

    def kvns(self, aid: str) -> list[int]:
        return [key_set.kvn for key_set in self.key_sets(aid)]

    def kcvs(self, aid: str) -> dict[int, list[str]]:
        """Check values of the keys that the card really holds, by key version."""
        return {item.kvn: [build_kcv(key) for key in item.keys] for item in self.key_sets(aid)}

    def lengths(self, aid: str) -> dict[int, int]:
        """Bytes of the AES keys that the card really holds, by key version; 0 for triple DES."""
        return {item.kvn: len(item.keys[0].value) if item.keys[0].is_aes else 0 for item in self.key_sets(aid)}

    def all_keys(self) -> set[bytes]:
        """Every key that the card ever held."""
        return {
            key.value
            for state in self.commits
            for domain in state.domains
            for key_set in domain.key_sets
            for key in key_set.keys
        }


def build_kcv(key: StaticKey) -> str:
    """The check value by GlobalPlatform's method for the key's type."""
    if key.is_aes:
        return Cipher(AES(key.value), modes.ECB()).encryptor().update(b"\x01" * 16)[:3].hex().upper()  # noqa: S305 - one block
    value = key.value + key.value[: 24 - len(key.value)]
    return Cipher(TripleDES(value), modes.ECB()).encryptor().update(bytes(8))[:3].hex().upper()  # noqa: S305 - one block


@dataclass
class Counted:
    """A card that counts its commands. `names`: their instruction bytes in hex."""

    card: VirtualCard
    names: list[str] = field(default_factory=list)

    def transmit(self, command: bytes) -> bytes:
        self.names.append(f"{command[1]:02X}")
        return self.card.transmit(command)

    def reset(self) -> None:
        self.card.reset()


@dataclass
class Server:
    """`kms serve`. `log`: what it writes on standard error."""

    config: Path
    log: Path
    process: subprocess.Popen[str] | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        if self.runs:
            return
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [BIN / "kms", "--config", self.config, "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("ready"), self.log.read_text()[-3000:]

    def kill(self) -> None:
        """SIGKILL to the master and all workers at once, as when power fails."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self._reap()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For the time of the block it answers nobody, and nobody knows why."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def _reap(self) -> None:
        assert self.process
        assert self.process.stdout
        self.process.wait(START_SECONDS)
        self.process.stdout.close()
        self.process = None


@dataclass
class Site:
    """The site. `said`: all that its commands printed."""

    installation: Installation
    master: VendorMaster
    server: Server
    prober: ChannelProber
    database: SiteDatabase
    said: list[str] = field(default_factory=list)
    vendors: dict[str, VendorMaster] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.installation.folder

    def run(self, *arguments: str) -> Result:
        """Run `kms ARGUMENTS` in this process."""
        result = CliRunner().invoke(cli, ["--config", str(self.installation.platform_config), *arguments])
        self.said.append(result.output)
        return result

    def kms(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run `kms ARGUMENTS --json` and read what it prints."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def terminal(self, *arguments: str, name: str = "terminal-1") -> subprocess.CompletedProcess[str]:
        """Run `kms-terminal ARGUMENTS` as a process."""
        command = [str(BIN / "kms-terminal"), "--config", str(self.terminal_config(name)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.said += [done.stdout, done.stderr]
        return done

    def terminal_config(self, name: str) -> Path:
        """The configuration of a terminal; each has a journal of its own."""
        path = self.folder / self.installation.name / f"{name}.toml"
        if not path.exists():
            base = self.installation.terminal_config.read_text()
            path.write_text(base.replace("terminal-1", name))
        return path

    def load_terminal(self, name: str) -> TerminalConfig:
        """The same, read."""
        return load_config(self.terminal_config(name))

    def add_terminal(self, name: str, *, enrol: bool = True) -> str:
        options = ("--enrol",) if enrol else ()
        result = self.run("pki", "terminal", name, "--dir", str(self.installation.pki), *options)
        assert result.exit_code == 0, result.output
        return name

    def deliver(
        self,
        *,
        scp_i: int | None = 0x55,
        scp03_i: int | None = None,
        vendor: VendorMaster | None = None,
        recorded: bool = True,
        kvn: int = 0x01,
        diversification: Diversification = Diversification.NONE,
        profile: str = "default",
        protocol: TransmissionProtocol = TransmissionProtocol.T1,
        personality: Personality | None = None,
        master: bytes | None = None,
    ) -> Delivered:
        """Make a card under the vendor's master (or another) that nobody has enrolled yet.

        `vendor`: an AES master, by which the card's keys are AES. `recorded` False: its file does not say which
        protocols it speaks.
        """
        vendor = vendor or self.master
        if vendor.key_type != "DES2":
            diversification = Diversification.KDF3
        number = next(_NUMBERS)
        kdd = secrets.token_bytes(10)
        state = build_factory_state(
            derive_card_keys(master or vendor.value, kdd, diversification),
            kvn=kvn,
            key_type=KEY_TYPE_DES if vendor.key_type == "DES2" else KEY_TYPE_AES,
            scp02_i=scp_i,
            scp03_i=scp03_i,
            kdd=kdd,
            cin=number.to_bytes(4, "big") + secrets.token_bytes(4),
        )
        commits = [state]
        card = VirtualCard(state, personality, protocol=protocol, on_commit=commits.append)
        scheme = "emv-cps-1.1" if diversification is Diversification.EMV else str(diversification)
        identity = (DEFAULT_IIN + state.cin).hex().upper()
        options = [f"{i:02X}" if i is not None and recorded else "" for i in (scp_i, scp03_i)]
        fields = (identity, kdd.hex(), ISD_AID, f"{kvn:02X}", *options, vendor.name, scheme, profile)
        return Delivered(card, ",".join(fields), commits)

    def import_vendor(self, name: str, key_type: str) -> VendorMaster:
        """Import another manufacturer's master, once."""
        if name not in self.vendors:
            self.vendors[name] = make_vendor_master(name, key_type)
            self.installation.import_master(self.vendors[name])
        return self.vendors[name]

    def enrol(self, *delivered: Delivered) -> None:
        """Enrol cards from a manufacturer's file."""
        path = self.folder / f"cards-{next(_NUMBERS)}.csv"
        header = "identity,kdd,isd_aid,isd_kvn,scp02_i,scp03_i,vendor_master,diversification,profile"
        path.write_text("\n".join((header, *(item.row for item in delivered))) + "\n")
        self.kms("cards", "import", str(path))

    def issue(self, **how: Any) -> Delivered:  # noqa: ANN401 - those of `deliver`
        """Deliver a card and enrol it."""
        delivered = self.deliver(**how)
        self.enrol(delivered)
        return delivered

    def keyed(self, **how: Any) -> Delivered:  # noqa: ANN401 - those of `deliver`
        """Issue a card whose ISD and transit SSD hold the platform's keys."""
        delivered = self.issue(**how)
        self.apply(delivered)
        assert self.last_visit(delivered)["result"] == "done"
        return delivered

    @contextmanager
    def relay(
        self,
        terminal: str = "terminal-1",
        http: Callable[[httpx.Client], httpx.Client] = lambda client: client,
        on_retry: Callable[[str, float], None] = lambda problem, pause: None,  # noqa: ARG005 - nobody listens
        reconnect: float = 20.0,
    ) -> Iterator[Relay]:
        """The terminal's relay in this process, over real TLS. `http`: changes its connection."""
        config = self.load_terminal(terminal)
        with Journal(config.journal_directory) as journal:
            client = ServerClient(http(open_http(config)), reconnect, on_retry)
            with client as server:
                yield Relay(server, journal)

    def visit(self, delivered: Delivered, card: Any = None, terminal: str = "terminal-1") -> VisitSummary | None:  # noqa: ANN401 - any card
        """One visit of the card, as `kms-terminal once` does it."""
        with self.relay(terminal) as relay:
            return serve_card(relay, power(card or delivered.card), delivered.identity).visit

    def apply(self, delivered: Delivered, application: str = TRANSIT, card: Any = None) -> VisitSummary | None:  # noqa: ANN401 - any card
        """The card's user applies, and the visit that follows, as `kms-terminal apply` does it."""
        with self.relay() as relay:
            client = relay.transport
            assert isinstance(client, ServerClient)

            def open_session() -> str:
                return client.apply(delivered.identity, bytes.fromhex(application)).session_id

            return serve_card(relay, power(card or delivered.card), delivered.identity, open_session).visit

    def force(self, delivered: Delivered, aid: str = TRANSIT_SSD) -> None:
        self.kms("updates", "force", "--card", delivered.name, "--aid", aid)

    def last_visit(self, delivered: Delivered) -> dict[str, Any]:
        """The newest visit of the card, with its journal."""
        newest: dict[str, Any] = self.kms("visits", "list", "--card", delivered.name, "--limit", "1")[0]
        shown: dict[str, Any] = self.kms("visits", "show", newest["id"])
        return shown

    def key_sets(self, delivered: Delivered, aid: str) -> list[dict[str, Any]]:
        """The key sets that are on record, none before the security domain is."""
        result = self.run("ssds", "show", delivered.name, aid, "--json")
        found: list[dict[str, Any]] = json.loads(result.stdout)["key_sets"] if result.exit_code == 0 else []
        return found

    def try_channels(self, delivered: Delivered) -> list[Tried]:
        """Try every key set on record, on a copy of the card: what is tried leaves no trace on the card itself."""
        return self.prober.try_all(delivered.identity, VirtualCard(delivered.card.state))

    def check_agreement(self, delivered: Delivered) -> None:
        """Card and platform agree: versions, check values, and which key sets still open a channel."""
        for domain in delivered.card.state.domains:
            aid = domain.aid.hex().upper()
            recorded = {item["kvn"]: item for item in self.key_sets(delivered, aid) if item["state"] == "ACTIVE"}
            assert sorted(recorded) == sorted(delivered.kvns(aid))
            for kvn, kcvs in delivered.kcvs(aid).items():
                # The vendor's own sets have none on record: they are known by their master alone.
                assert recorded[kvn]["kcvs"] == (kcvs if recorded[kvn]["purpose"] else [])
                method = "aes-ecb-one" if delivered.lengths(aid)[kvn] else "3des-ecb-zero"
                assert recorded[kvn]["kcv_method"] == method
        wrong = [tried for tried in self.try_channels(delivered) if tried.opened != tried.current]
        assert not wrong

    def dump(self, *tables: str) -> dict[str, list[tuple[object, ...]]]:
        """The rows of some tables, all of them without any: what is compared before and after a refusal."""
        return {
            name: sorted(self.database.execute(f"SELECT * FROM {name}"), key=repr)  # noqa: S608 - names of this schema
            for name in tables or list_tables(self.database)
        }


def power(card: Any) -> Any:  # noqa: ANN401 - any card
    """Put a card in: it is reset."""
    card.reset()
    return card


def take_token() -> NssToken | None:
    """An empty NSS token where `KMS_TEST_TOKEN=nss`; else none: the site makes a SoftHSM2 token of its own."""
    return get_nss_tokens().take() if os.environ.get("KMS_TEST_TOKEN") == "nss" else None


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def open_site(folder: Path, nss: NssToken | None = None) -> Iterator[Site]:
    """Build the site and serve it, on the database and (without `nss`) the make of token that the environment names."""
    database = make_database(folder, "issuer")
    installation = Installation(folder, find_free_port(), READER, database_url=database.url, nss=nss or take_token())
    master = make_vendor_master()
    installation.prepare(master)
    with serve_site(installation, master, database) as site:
        yield site


@contextmanager
def serve_site(installation: Installation, master: VendorMaster, database: SiteDatabase) -> Iterator[Site]:
    """Serve an installation that is prepared."""
    server = Server(installation.platform_config, installation.log)
    try:
        server.start()
        with closing(ChannelProber(installation.platform_config)) as prober:
            yield Site(installation, master, server, prober, database)
    finally:
        server.kill()  # nobody waits for connections that are kept open
