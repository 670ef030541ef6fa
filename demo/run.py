"""`make demo`: cards get their keys and have them replaced, through servers, tokens, databases, TLS and PC/SC.

The story: a manufacturer delivers cards under its own master keys, one with triple DES keys for SCP02 and one with
AES-256 keys for SCP03 in S16 mode, and both go the same way: the issuer takes the card's ISD over (vendor's keys to
its own), puts keys into a new SSD for an application (flow 2) and replaces them by order (flow 4). A provider then
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
    CommandError,
    Installation,
    VendorMaster,
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
class Delivery:
    """A card as its manufacturer delivers it: under `master`, by `diversification`; `options`: of the virtual card."""

    name: str
    master: VendorMaster
    diversification: str
    options: tuple[str, ...]


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
    deliveries = (
        Delivery(
            "SCP02, triple DES", make_vendor_master(), "visa2", ("--scp02-i", "55", "--cin", "00010203040506070809")
        ),
        Delivery(
            "SCP03 S16, AES-256",
            make_vendor_master("demo-vendor-aes", "AES256"),
            "kdf3",
            ("--key-type", "aes", "--scp03-i", "71", "--cin", "0001020304050607080A"),
        ),
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    console.rule("Two platforms, each with its own SoftHSM2 token, database and certificates")
    for delivery in deliveries:
        issuer.prepare(delivery.master)
    provider.prepare()
    console.print(f"KEK exchanged between the two HSMs, check value on both sides: {exchange_keys(issuer, provider)}\n")
    console.print(issuer.kms("keys", "list"))
    console.print(provider.kms("keys", "list"))
    flows: dict[str, list[Flow]] = {}
    attempts: dict[str, list[Attempt]] = {}
    with issuer.serving(), provider.serving():
        for delivery in deliveries:
            with virtual_card(FOLDER, delivery):
                console.rule(f"A card as its manufacturer delivers it: {delivery.name}")
                identity = enrol_card(console, issuer, delivery)
                done = [*run_issuer_flows(console, issuer, identity), *run_provider_flows(console, provider, identity)]
                flows[delivery.name] = done
                attempts[delivery.name] = [*try_channels(issuer), *try_channels(provider)]
    for name, tried in attempts.items():
        print_flows(console, name, flows[name])
        print_attempts(console, name, tried)
    if not all(tried and all(attempt.as_it_should_be for attempt in tried) for tried in attempts.values()):
        console.print("[bold red]A key set did not behave as it should.[/]")
        return 1
    console.print(
        f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {FOLDER.relative_to(PROJECT)}. Next:"
    )
    for path in (issuer.platform_config, provider.platform_config):
        config = path.relative_to(PROJECT)
        console.print(f"  .venv/bin/kms --config {config} visits list   what the card's visits did")
        console.print(f"  .venv/bin/kms --config {config} audit tail    who did what to which key")
    console.print("  make up   platforms to play with")
    return 0


def enrol_card(console: Console, installation: Installation, delivery: Delivery) -> str:
    """Read the card, enrol it from a CSV file; its identity in hex."""
    console.print(installation.terminal("identify"))
    how = ["--vendor-master", delivery.master.name, "--diversification", delivery.diversification]
    how += ["--profile", "default"]
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
def virtual_card(folder: Path, delivery: Delivery) -> Iterator[None]:
    """Put the manufacturer's card into the virtual reader: factory keys (version FF) derived from its master."""
    name = f"card-{delivery.master.name}"
    key_file, log_file = folder / f"{name}.master", folder / f"{name}.log"
    key_file.touch(mode=0o600)
    key_file.write_text(delivery.master.value.hex())
    keys = ["--master-file", str(key_file), "--diversification", delivery.diversification]
    how = [*keys, *delivery.options, "--kvn", "FF", "--keep-factory-set"]
    where = ["--state", str(folder / f"{name}.json"), "--port", READER_PORT]
    with log_file.open("w") as log:
        card = subprocess.Popen(  # noqa: S603 - this project's own program
            [str(BIN / "kms-terminal"), "virtual-card", *how, *where], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_card(card, log_file)
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


def print_flows(console: Console, card: str, flows: list[Flow]) -> None:
    """The table at the end: what each flow did and what it cost."""
    table = Table(title=f"What was done: {card}", title_justify="left", box=SIMPLE_HEAD)
    for column in ("flow", "key version", "KCV of ENC, MAC, DEK (method)", "APDUs", "requests", "seconds"):
        table.add_column(column, overflow="fold")
    for flow in flows:
        versions = f"{flow.before} → {flow.after}"
        table.add_row(flow.name, versions, flow.kcvs, str(flow.apdus), str(flow.requests), f"{flow.seconds:.2f}")
    console.print(table)


def print_attempts(console: Console, card: str, attempts: list[Attempt]) -> None:
    """Which key sets the card still accepts."""
    table = Table(title=f"A channel under every key set that ever was: {card}", title_justify="left", box=SIMPLE_HEAD)
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
