"""One installation in a folder: platform and terminal configured, set up and driven by their own commands.

Rules: everything goes through the front door (`kms`, `kms-terminal`, `softhsm/setup_token.py`), as a person would do
it; the configurations are those of config/ with other paths and another port. Tests use it too.
"""

import io
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from kms.cli import cli

PROJECT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
READY_SECONDS = 30
VENDOR = "demo-vendor"
DEFAULT_PORTS = {"issuer": 8443, "provider": 8445}  # in config/


class CommandError(Exception):
    """A command of the installation failed; the text is what it said."""


@dataclass(frozen=True)
class VendorMaster:
    """A card manufacturer's master key as it arrives: two components, and their check value by 3DES over zeros."""

    components: tuple[bytes, bytes]

    @property
    def value(self) -> bytes:
        """The key, 16 bytes: the demonstration plays the manufacturer too."""
        return bytes(a ^ b for a, b in zip(*self.components, strict=True))

    @property
    def kcv(self) -> str:
        """Leftmost 3 bytes of 3DES-ECB(key, 00 x 8), in hex."""
        encryptor = Cipher(TripleDES(self.value + self.value[:8]), modes.ECB()).encryptor()  # noqa: S305 - a check value is one block
        return encryptor.update(bytes(8))[:3].hex().upper()


def make_vendor_master() -> VendorMaster:
    """A fresh vendor master key in two components."""
    return VendorMaster((secrets.token_bytes(16), secrets.token_bytes(16)))


@dataclass(frozen=True)
class Installation:
    """A platform and a terminal of its own whose files all live in `folder`. `reader`: part of the reader's name.

    `name`: `issuer` or `provider`, as in config/. The two may share a folder: each has its own token, database and
    certificates in it. `issuer_port`: where the issuer's platform listens, for a provider's leased line.
    """

    folder: Path
    port: int
    reader: str
    name: str = "issuer"
    issuer_port: int | None = None

    @property
    def platform_config(self) -> Path:
        """The platform's configuration file."""
        return self.folder / f"{self.name}.toml"

    @property
    def terminal_config(self) -> Path:
        """The terminal's configuration file."""
        return self.folder / ("terminal.toml" if self.name == "issuer" else f"terminal-{self.name}.toml")

    @property
    def pki(self) -> Path:
        """The folder of the platform's development authority."""
        return self.folder / "pki" if self.name == "issuer" else self.folder / self.name / "pki"

    @property
    def log(self) -> Path:
        """What the server writes."""
        return self.folder / ("server.log" if self.name == "issuer" else f"server-{self.name}.log")

    def kms(self, *arguments: str) -> str:
        """Run `kms` with this installation's configuration; returns what it printed.

        In this process: a Python that starts anew takes ten times as long as the command.
        """
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                cli.main(["--config", str(self.platform_config), *arguments], prog_name="kms")
            except SystemExit as end:
                if end.code:
                    raise CommandError(f"kms {' '.join(arguments)}\n{err.getvalue().strip()}") from end
        return out.getvalue()

    def kms_json(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """The same with --json, read."""
        return json.loads(self.kms(*arguments, "--json"))

    def terminal(self, *arguments: str) -> str:
        """Run `kms-terminal` with this installation's configuration; returns what it printed."""
        return _run([BIN / "kms-terminal", "--config", self.terminal_config, *arguments])

    def write_configuration(self) -> None:
        """Write both configurations: those of config/, with paths in this folder and these ports."""
        self.folder.mkdir(parents=True, exist_ok=True)
        platform = (PROJECT / "config" / self.platform_config.name).read_text()
        platform = _replace(platform, 'base_dir = ".."', f'base_dir = "{PROJECT}"')
        platform = _replace(platform, f"port = {DEFAULT_PORTS[self.name]}", f"port = {self.port}")
        if self.issuer_port is not None:
            platform = _replace(platform, f"localhost:{DEFAULT_PORTS['issuer']}", f"localhost:{self.issuer_port}")
        self.platform_config.write_text(_replace(platform, "var/", f"{self.folder}/"))
        terminal = (PROJECT / "config" / self.terminal_config.name).read_text()
        terminal = _replace(terminal, f"localhost:{DEFAULT_PORTS[self.name]}", f"localhost:{self.port}")
        terminal = _replace(terminal, 'name = ""', f'name = "{self.reader}"')
        self.terminal_config.write_text(_replace(terminal, "var/", f"{self.folder}/"))

    def prepare(self, master: VendorMaster | None = None, *, peers: bool = True) -> None:
        """Make token, certificates, database and master keys, and enrol the terminal.

        `master`: the card manufacturer's, for an issuer. `peers`: an issuer's certificate for its provider, too.
        """
        self.write_configuration()
        token: list[str | Path] = [sys.executable, PROJECT / "softhsm" / "setup_token.py"]
        where: list[str | Path] = ["--dir", self.folder / "softhsm", "--label", self.name]
        own = self.folder / self.name
        _run([*token, *where, "--pin-file", own / "hsm.pin", "--so-pin-file", own / "hsm.so-pin"])
        self.kms("db", "upgrade")
        pki = str(self.pki)
        self.kms("pki", "init", "--dir", pki)
        if self.name == "issuer" and peers:
            self.kms("pki", "peer", "provider", "--dir", pki)
        self.kms("pki", "terminal", "terminal-1", "--dir", pki, "--enrol")
        for kind in ("isd", "ssd-initial", "ssd") if self.name == "issuer" else ("ssd",):
            self.kms("keys", "generate", "--kind", kind, "--name", kind)
        if master is not None:
            self._import_master(master)

    def _import_master(self, master: VendorMaster) -> None:
        files: list[str] = []
        for number, component in enumerate(master.components, start=1):
            path = self.folder / f"component-{number}"
            path.touch(mode=0o600)
            path.write_text(component.hex())
            files += ["--component-file", str(path)]
        self.kms("keys", "import", "--name", VENDOR, "--type", "DES2", "--kcv", master.kcv, *files)
        for path in self.folder.glob("component-*"):
            path.unlink()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        """Run `kms serve` until the block ends. Raises CommandError when it does not come up."""
        with self.log.open("a") as log:
            server = subprocess.Popen(  # noqa: S603 - this project's own program
                [BIN / "kms", "--config", self.platform_config, "serve"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert server.stdout is not None  # noqa: S101 - asked for with PIPE
            line = server.stdout.readline()
            if not line.startswith("ready"):
                server.wait(READY_SECONDS)
                raise CommandError(f"kms serve did not start:\n{self.log.read_text()[-2000:]}")
            yield server
        finally:
            server.terminate()
            server.wait(READY_SECONDS)
            if server.stdout is not None:
                server.stdout.close()


def exchange_keys(issuer: Installation, provider: Installation) -> str:
    """Exchange KEK and signing keys between the two HSMs; the KEK's check value, which people would compare.

    Offer and answer travel as files; each side types the fingerprint that the other reads from its own screen.
    """
    offer, answer = provider.folder / "offer.json", issuer.folder / "answer.json"
    offered = provider.kms_json("keys", "exchange", "offer", "--peer", issuer.name, "--out", str(offer))
    read_out = ("--fingerprint", offered["fingerprint"])
    made = issuer.kms_json(
        *("keys", "exchange", "answer", "--peer", provider.name, "--in", str(offer), "--out", str(answer)), *read_out
    )
    accepted = provider.kms_json(
        *("keys", "exchange", "accept", "--peer", issuer.name, "--in", str(answer)),
        "--fingerprint",
        made["fingerprint"],
    )
    if accepted["kcv"] != made["kcv"]:
        raise CommandError("the two platforms hold different KEKs")
    return f"{made['kcv']} ({made['kcv_method']})"


def _replace(text: str, old: str, new: str) -> str:
    if old not in text:
        raise CommandError(f"the configuration in config/ has no {old!r} any more")
    return text.replace(old, new)


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(  # noqa: S603 - this project's own programs
        [str(part) for part in command], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise CommandError(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))}\n{said}")
    return done.stdout
