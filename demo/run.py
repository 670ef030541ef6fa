"""`make demo`: cards get their keys and have them replaced, through servers, tokens, databases, TLS and PC/SC.

The story: a manufacturer delivers a card under its own master key; the issuer takes the card's ISD over (vendor's keys
to its own), puts keys into a new SSD for an application (flow 2) and replaces them by order (flow 4). A provider then
gets a security domain of its own on the same card (flow 3: the issuer makes it through the provider's terminal and
hands it over) and replaces its keys alone (flow 5). At the end every key set that ever was tries to open a channel.
Exit code 0 only if all of it went as it should.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo.channels import Attempt, attempt_channels
from demo.installation import (
    BIN,
    PROJECT,
    VENDOR,
    CommandError,
    Installation,
    exchange_keys,
    make_vendor_master,
)
from kms.bootstrap import open_platform
from kms.config import load_config
from kms.errors import KmsError
from terminal.config import IdentitySource
from terminal.errors import TerminalError
from terminal.identity import read_identity
from terminal.reader import Readers

FOLDER = PROJECT / "var" / "demo"
PORT = int(os.environ.get("KMS_DEMO_PORT", "8454"))  # the provider takes the next one
READER, READER_PORT = "Virtual PCD 00 00", "35963"
CARD_SECONDS = 20
PIPED_WIDTH = 120
ISD_AID = "A000000151000000"
APPLICATION, SSD_AID = "A000000951000101", "A0000009510001"
PROVIDED, PROVIDED_SSD = "A000000952000101", "A0000009520001"


@dataclass(frozen=True)
class Flow:
    """One flow and what it cost. Key versions with the check values of ENC, MAC and DEK."""

    name: str
    before: str
    after: str
    kcvs: str
    apdus: int
    requests: int
    seconds: float


def main() -> int:
    """Run the demonstration; the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    try:
        return _run(console)
    except (CommandError, KmsError, TerminalError, subprocess.TimeoutExpired) as error:
        console.print(f"[bold red]The demonstration failed:[/] {error}", markup=True)
        console.print(f"What the servers said: {FOLDER}/server*.log")
        return 1
    except KeyboardInterrupt:
        return 130


def _run(console: Console) -> int:
    started = time.monotonic()
    issuer = Installation(FOLDER, PORT, READER)
    provider = Installation(FOLDER, PORT + 1, READER, "provider", PORT)
    master = make_vendor_master()
    shutil.rmtree(FOLDER, ignore_errors=True)
    console.rule("Two platforms, each with its own SoftHSM2 token, database and certificates")
    issuer.prepare(master)
    provider.prepare()
    console.print(f"KEK exchanged between the two HSMs, check value on both sides: {exchange_keys(issuer, provider)}\n")
    console.print(issuer.kms("keys", "list"))
    console.print(provider.kms("keys", "list"))
    with virtual_card(FOLDER, master.value), issuer.serving(), provider.serving():
        console.rule("A card as its manufacturer delivers it")
        identity = enrol_card(console, issuer)
        flows = [*run_issuer_flows(console, issuer, identity), *run_provider_flows(console, provider, identity)]
        attempts = [*try_channels(issuer), *try_channels(provider)]
    print_flows(console, flows)
    print_attempts(console, attempts)
    failed = [attempt for attempt in attempts if not attempt.as_it_should_be]
    if failed or not attempts:
        console.print("[bold red]A key set did not behave as it should.[/]")
        return 1
    console.print(
        f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {FOLDER.relative_to(PROJECT)}. Next:"
    )
    for name in (issuer.platform_config, provider.platform_config):
        config = name.relative_to(PROJECT)
        console.print(f"  .venv/bin/kms --config {config} visits list   what the card's visits did")
        console.print(f"  .venv/bin/kms --config {config} audit tail    who did what to which key")
    console.print("  make up   platforms to play with")
    return 0


def enrol_card(console: Console, installation: Installation) -> str:
    """Read the card, enrol it from a CSV file; its identity in hex."""
    console.print(installation.terminal("identify"))
    how = ["--vendor-master", VENDOR, "--diversification", "visa2", "--profile", "default"]
    csv = installation.terminal("identify", "--csv", *how)
    cards = installation.folder / "cards.csv"
    cards.write_text(csv)
    console.print(installation.kms("cards", "import", str(cards)))
    return csv.splitlines()[1].split(",")[0]


def run_issuer_flows(console: Console, installation: Installation, identity: str) -> list[Flow]:
    """Take the ISD over, put keys into an SSD, replace them."""
    runner = FlowRunner(console, installation, identity)
    flows = [runner.run("ISD: vendor's keys to the issuer's own", ISD_AID, "once")]
    flows.append(runner.run("Flow 2: first keys, issuer's SSD", SSD_AID, "apply", "--application", APPLICATION))
    installation.kms("updates", "force", "--card", identity, "--aid", SSD_AID)
    flows.append(runner.run("Flow 4: forced update, issuer's SSD", SSD_AID, "once"))
    return flows


def run_provider_flows(console: Console, installation: Installation, identity: str) -> list[Flow]:
    """Get an SSD from the issuer through the provider's terminal, replace its keys without the issuer."""
    runner = FlowRunner(console, installation, identity)
    flows = [
        runner.run("Flow 3: first keys, provider's SSD", PROVIDED_SSD, "apply", "--application", PROVIDED),
    ]
    installation.kms("updates", "force", "--card", identity, "--aid", PROVIDED_SSD)
    flows.append(runner.run("Flow 5: forced update, provider's SSD", PROVIDED_SSD, "once"))
    return flows


@dataclass(frozen=True)
class FlowRunner:
    """Runs the terminal's commands on the card of one installation and looks at what became of its keys."""

    console: Console
    installation: Installation
    identity: str

    def run(self, name: str, aid: str, *command: str) -> Flow:
        """One visit. Raises CommandError unless the server says that it did its work."""
        self.console.rule(name)
        before = self._key_versions(aid)
        events = [json.loads(line) for line in self.installation.terminal(*command, "--json").splitlines()]
        for event in events:
            if event["event"] == "command":
                self.console.print(f"  {event['number']:>2}  {event['name']:<22} {event['status']}")
        visit = next(event for event in events if event["event"] == "visit")
        result = self.installation.kms_json("visits", "list", "--limit", "1")[0]["result"]
        if result != "done":
            raise CommandError(f"{name}: {result}")
        current = self._find_active(aid)[0]
        kcvs = f"{' '.join(current['kcvs'])} ({current['kcv_method']})"
        after = f"{current['kvn']:02X}"
        return Flow(name, before, after, kcvs, visit["commands"], visit["requests"], visit["seconds"])

    def _key_versions(self, aid: str) -> str:
        return " ".join(f"{item['kvn']:02X}" for item in self._find_active(aid)) or "none"

    def _find_active(self, aid: str) -> list[dict[str, Any]]:
        """The security domain's key sets in force, none before the domain is on record."""
        try:
            shown = self.installation.kms_json("ssds", "show", self.identity, aid)
        except CommandError as error:
            if "input.not-found" in str(error) or "card.unknown" in str(error):
                return []
            raise
        return [item for item in shown["key_sets"] if item["state"] == "ACTIVE"]


@contextmanager
def virtual_card(folder: Path, master: bytes) -> Iterator[None]:
    """Put the manufacturer's card into the virtual reader: factory keys (version FF) by VISA2 from its master."""
    key_file = folder / "card-master"
    key_file.touch(mode=0o600)
    key_file.write_text(master.hex())
    keys = ["--master-file", str(key_file), "--diversification", "visa2", "--kvn", "FF", "--keep-factory-set"]
    where = ["--state", str(folder / "card.json"), "--port", READER_PORT]
    with (folder / "card.log").open("w") as log:
        card = subprocess.Popen(  # noqa: S603 - this project's own program
            [str(BIN / "kms-terminal"), "virtual-card", *keys, *where], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_card(card, folder / "card.log")
        yield
    finally:
        card.terminate()
        card.wait(CARD_SECONDS)


def _wait_for_card(card: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + CARD_SECONDS
    while time.monotonic() < end:
        if "virtual card in reader" in log.read_text():
            return
        if card.poll() is not None:
            break
        time.sleep(0.1)
    raise CommandError(f"the virtual card is not in its reader: {log.read_text().strip() or 'is pcscd running?'}")


def try_channels(installation: Installation) -> list[Attempt]:
    """Try every key set that ever was on the card in the reader."""
    platform = open_platform(load_config(installation.platform_config))
    readers = Readers()
    try:
        card = readers.connect(readers.wait_for_card(READER, timeout=CARD_SECONDS))
        identity = read_identity(card, (IdentitySource.IIN_CIN, IdentitySource.CPLC))
        return list(attempt_channels(platform, identity, card))
    finally:
        readers.close()
        platform.vault.close()
        platform.store.dispose()


def print_flows(console: Console, flows: list[Flow]) -> None:
    """The table at the end: what each flow did and what it cost."""
    table = Table(title="What was done", title_justify="left", box=SIMPLE_HEAD)
    for column in ("flow", "key version", "KCV of ENC, MAC, DEK (method)", "APDUs", "requests", "seconds"):
        table.add_column(column, overflow="fold")
    for flow in flows:
        versions = f"{flow.before} → {flow.after}"
        table.add_row(flow.name, versions, flow.kcvs, str(flow.apdus), str(flow.requests), f"{flow.seconds:.2f}")
    console.print(table)


def print_attempts(console: Console, attempts: list[Attempt]) -> None:
    """Which key sets the card still accepts."""
    table = Table(title="A channel under every key set that ever was", title_justify="left", box=SIMPLE_HEAD)
    for column in ("platform", "security domain", "key version", "made for", "record", "the card"):
        table.add_column(column, overflow="fold")
    for attempt in attempts:
        record = "in force" if attempt.current else "old"
        verdict = f"{'opens' if attempt.opened else 'refuses'}: {attempt.answer}"
        domain = f"{attempt.domain.kind} {attempt.domain.aid.hex().upper()}"
        table.add_row(attempt.platform, domain, f"{attempt.kvn:02X}", attempt.made_for, record, verdict)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
