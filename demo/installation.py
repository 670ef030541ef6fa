"""One installation in a folder: platform and terminal configured, set up and driven by their own commands.

Rules: everything goes through the front door (`kms`, `kms-terminal`, `softhsm/setup_token.py`), as a person would do
it; the configurations are those of config/ with other paths and another port. Tests use it too.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

PROJECT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
READY_SECONDS = 30
VENDOR = "demo-vendor"


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
    """A platform and a terminal whose files all live in `folder`. `reader`: part of the virtual reader's name."""

    folder: Path
    port: int
    reader: str

    @property
    def platform_config(self) -> Path:
        """The platform's configuration file."""
        return self.folder / "issuer.toml"

    @property
    def terminal_config(self) -> Path:
        """The terminal's configuration file."""
        return self.folder / "terminal.toml"

    def kms(self, *arguments: str) -> str:
        """Run `kms` with this installation's configuration; returns what it printed."""
        return _run([BIN / "kms", "--config", self.platform_config, *arguments])

    def kms_json(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """The same with --json, read."""
        return json.loads(self.kms(*arguments, "--json"))

    def terminal(self, *arguments: str) -> str:
        """Run `kms-terminal` with this installation's configuration; returns what it printed."""
        return _run([BIN / "kms-terminal", "--config", self.terminal_config, *arguments])

    def write_configuration(self) -> None:
        """Write both configurations: those of config/, with paths in this folder and this port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        platform = (PROJECT / "config" / "issuer.toml").read_text()
        platform = _replace(platform, 'base_dir = ".."', f'base_dir = "{PROJECT}"')
        platform = _replace(platform, "port = 8443", f"port = {self.port}")
        platform = _replace(platform, "var/", f"{self.folder}/")
        self.platform_config.write_text(platform)
        terminal = (PROJECT / "config" / "terminal.toml").read_text()
        terminal = _replace(terminal, "localhost:8443", f"localhost:{self.port}")
        terminal = _replace(terminal, 'name = ""', f'name = "{self.reader}"')
        self.terminal_config.write_text(_replace(terminal, "var/", f"{self.folder}/"))

    def prepare(self, master: VendorMaster) -> None:
        """Make token, certificates, database and master keys, and enrol the terminal."""
        self.write_configuration()
        token: list[str | Path] = [
            sys.executable,
            PROJECT / "softhsm" / "setup_token.py",
            "--dir",
            self.folder / "softhsm",
        ]
        pins: list[str | Path] = [
            "--pin-file",
            self.folder / "issuer/hsm.pin",
            "--so-pin-file",
            self.folder / "issuer/hsm.so-pin",
        ]
        _run((*token, "--label", "issuer", *pins))
        self.kms("db", "upgrade")
        pki = str(self.folder / "pki")
        self.kms("pki", "init", "--dir", pki)
        self.kms("pki", "terminal", "terminal-1", "--dir", pki, "--enrol")
        for kind in ("isd", "ssd-initial", "ssd"):
            self.kms("keys", "generate", "--kind", kind, "--name", kind)
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
        with (self.folder / "server.log").open("a") as log:
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
                raise CommandError(f"kms serve did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}")
            yield server
        finally:
            server.terminate()
            server.wait(READY_SECONDS)
            if server.stdout is not None:
                server.stdout.close()


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
