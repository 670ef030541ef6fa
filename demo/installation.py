"""One installation in a folder: platform and terminal configured, set up and driven by their own commands.

Rules: everything goes through the front door (`kms`, `kms-terminal`, `softhsm/setup_token.py`), as a person would do
it; the configurations are those of config/ with other paths and another port. What is there already stays, so that
preparing again finishes what was cut off. Tests use it too.
"""

import io
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.cli import cli

PROJECT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
READY_SECONDS = 30
VENDOR = "demo-vendor"
KEY_LENGTHS = {"DES2": 16, "AES128": 16, "AES256": 32}
SOFTHSM2_LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
NSS_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so")
NSS_SETUP = PROJECT / "setup" / "nss_token.py"
CONSOLE_PORTS = {"issuer": 8444, "provider": 8446}  # in config/
DEFAULT_PORTS = {"issuer": 8443, "provider": 8445}  # in config/


class CommandError(Exception):
    """A command of the installation failed; the text is what it said."""


@dataclass(frozen=True)
class VendorMaster:
    """A card manufacturer's master key as it arrives: components, type, and the check value on its key letter."""

    components: tuple[bytes, ...]
    name: str = VENDOR
    key_type: str = "DES2"

    @property
    def value(self) -> bytes:
        """The key, as long as its components: the demonstration plays the manufacturer too."""
        return bytes(reduce(xor, column) for column in zip(*self.components, strict=True))

    @property
    def kcv(self) -> str:
        """Leftmost 3 bytes of 3DES-ECB(key, 00 x 8), of an AES key 5 bytes of AES-CMAC(key, 00 x 16), in hex."""
        if self.key_type != "DES2":
            mac = CMAC(AES(self.value))
            mac.update(bytes(16))
            return mac.finalize()[:5].hex().upper()
        encryptor = Cipher(TripleDES(self.value + self.value[:8]), modes.ECB()).encryptor()  # noqa: S305 - a check value is one block
        return encryptor.update(bytes(8))[:3].hex().upper()


def make_vendor_master(name: str = VENDOR, key_type: str = "DES2") -> VendorMaster:
    """A fresh vendor master key in two components."""
    length = KEY_LENGTHS[key_type]
    return VendorMaster((secrets.token_bytes(length), secrets.token_bytes(length)), name, key_type)


@dataclass(frozen=True)
class NssToken:
    """A token of NSS softokn behind p11-kit, as `setup/nss_token.py` makes it in `folder`."""

    folder: Path
    label: str
    pin_file: Path


@dataclass(frozen=True)
class Installation:
    """A platform and a terminal of its own whose files all live in `folder`. `reader`: part of the reader's name.

    `name`: `issuer` or `provider`, as in config/. The two may share a folder: each has its own token, database and
    certificates in it. `issuer_port`: where the issuer's platform listens, for a provider's leased line.
    `console_port`: where its console listens, by default as in config/.
    `database_url`: of a database that is there and empty; without one it is a SQLite file in the folder.
    `nss`: run on this token instead of a SoftHSM2 token in the folder.
    """

    folder: Path
    port: int
    reader: str
    name: str = "issuer"
    issuer_port: int | None = None
    console_port: int | None = None
    database_url: str | None = None
    nss: NssToken | None = None

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
        if self.console_port is not None:
            default = CONSOLE_PORTS[self.name]
            platform = _replace(platform, f"port = {default}", f"port = {self.console_port}")
            platform = _replace(platform, f"localhost:{default}", f"localhost:{self.console_port}")
        if self.issuer_port is not None:
            platform = _replace(platform, f"localhost:{DEFAULT_PORTS['issuer']}", f"localhost:{self.issuer_port}")
        if self.database_url is not None:
            platform = _replace(platform, f"sqlite:///var/{self.name}/kms.db", self.database_url)
        if self.nss is not None:
            platform = _name_nss_token(platform, self.name, self.nss)
        self.platform_config.write_text(_replace(platform, "var/", f"{self.folder}/"))
        terminal = (PROJECT / "config" / self.terminal_config.name).read_text()
        terminal = _replace(terminal, f"localhost:{DEFAULT_PORTS[self.name]}", f"localhost:{self.port}")
        terminal = _replace(terminal, 'name = ""', f'name = "{self.reader}"')
        self.terminal_config.write_text(_replace(terminal, "var/", f"{self.folder}/"))

    def prepare(self, master: VendorMaster | None = None, *, peers: bool = True) -> None:
        """Make token, certificates, database, policies and master keys, and enrol the terminal; what is there stays.

        `master`: the card manufacturer's, for an issuer. `peers`: an issuer's certificate for its provider, too.
        """
        self.write_configuration()
        self._ensure_token()
        self.kms("db", "upgrade")
        self.kms("policies", "apply", str(PROJECT / "config" / "policies"), "--expect", "0")
        if not (self.pki / "ca.pem").exists():
            self.kms("pki", "init", "--dir", str(self.pki))
        if self.name == "issuer" and peers and not (self.pki / "provider.pem").exists():
            self.kms("pki", "peer", "provider", "--dir", str(self.pki))
        self._ensure_terminal("terminal-1")
        there = {key["name"] for key in self.kms_json("keys", "list") if key["state"] == "ACTIVE"}
        for kind in ("isd", "ssd-initial", "ssd") if self.name == "issuer" else ("ssd",):
            if kind not in there:
                self.kms("keys", "generate", "--kind", kind, "--name", kind)
        if master is not None and master.name not in there:
            self.import_master(master)

    def _ensure_token(self) -> None:
        if self.nss is not None:
            nss: list[str | Path] = [
                "--dir",
                self.nss.folder,
                "--label",
                self.nss.label,
                "--pin-file",
                self.nss.pin_file,
            ]
            _run([sys.executable, NSS_SETUP, *nss])
            return
        own = self.folder / self.name
        pins: list[str | Path] = ["--pin-file", own / "hsm.pin", "--so-pin-file", own / "hsm.so-pin"]
        where: list[str | Path] = ["--dir", self.folder / "softhsm", "--label", self.name]
        _run([sys.executable, PROJECT / "softhsm" / "setup_token.py", *where, *pins])

    def _ensure_terminal(self, name: str) -> None:
        certificate = self.pki / f"{name}.pem"
        if not certificate.exists():
            self.kms("pki", "terminal", name, "--dir", str(self.pki), "--enrol")
        elif name not in {terminal["name"] for terminal in self.kms_json("terminals", "list")}:
            self.kms("terminals", "enrol", "--name", name, "--certificate", str(certificate))

    def import_master(self, master: VendorMaster) -> None:
        """Import a card manufacturer's master key from its components."""
        files: list[str] = []
        for number, component in enumerate(master.components, start=1):
            path = self.folder / f"component-{number}"
            path.touch(mode=0o600)
            path.write_text(component.hex())
            files += ["--component-file", str(path)]
        try:
            self.kms("keys", "import", "--name", master.name, "--type", master.key_type, "--kcv", master.kcv, *files)
        finally:
            for path in self.folder.glob("component-*"):
                path.unlink()

    @contextmanager
    def serving(self, what: str = "serve") -> Iterator[subprocess.Popen[str]]:
        """Run `kms serve` (or `kms console`) until the block ends. Raises CommandError when it does not come up."""
        with self.log.open("a") as log:
            server = subprocess.Popen(  # noqa: S603 - this project's own program
                [BIN / "kms", "--config", self.platform_config, what],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert server.stdout is not None  # noqa: S101 - asked for with PIPE
            line = server.stdout.readline()
            if not line.startswith("ready"):
                server.wait(READY_SECONDS)
                raise CommandError(f"kms {what} did not start:\n{self.log.read_text()[-2000:]}")
            yield server
        finally:
            server.terminate()
            server.wait(READY_SECONDS)
            if server.stdout is not None:
                server.stdout.close()


def exchange_keys(issuer: Installation, provider: Installation) -> str:
    """Exchange KEK and signing keys between the two HSMs; the KEK's check value, which people would compare.

    Offer and answer travel as files; each side types the fingerprint that the other reads from its own screen. Two that
    hold the same KEK already keep it.
    """
    made, taken = find_kek(issuer, provider.name), find_kek(provider, issuer.name)
    if made is None or taken is None or made["kcv"] != taken["kcv"]:
        # An answer that never arrived is lost: its KEK is in nobody's hands, and the next one takes its place.
        made, taken = _carry_files(issuer, provider, *(("--new-generation",) if made else ()))
    if taken["kcv"] != made["kcv"]:
        raise CommandError("the two platforms hold different KEKs")
    return f"{made['kcv']} ({made['kcv_method']})"


def find_kek(installation: Installation, peer: str) -> dict[str, Any] | None:
    """The newest KEK that a platform holds for a peer."""
    keys = [key for key in installation.kms_json("keys", "list") if key["kind"] == "peer-kek" and key["name"] == peer]
    return max((key for key in keys if key["state"] == "ACTIVE"), key=lambda key: key["generation"], default=None)


def _carry_files(issuer: Installation, provider: Installation, *how: str) -> tuple[dict[str, Any], dict[str, Any]]:
    offer, answer = provider.folder / "offer.json", issuer.folder / "answer.json"
    for left_over in (offer, answer):
        left_over.unlink(missing_ok=True)
    offered = provider.kms_json("keys", "exchange", "offer", "--peer", issuer.name, "--out", str(offer))
    files = ("--in", str(offer), "--out", str(answer), "--fingerprint", offered["fingerprint"])
    made = issuer.kms_json("keys", "exchange", "answer", "--peer", provider.name, *files, *how)
    received = ("--in", str(answer), "--fingerprint", made["fingerprint"])
    return made, provider.kms_json("keys", "exchange", "accept", "--peer", issuer.name, *received)


def _name_nss_token(platform: str, name: str, nss: NssToken) -> str:
    """The platform's configuration with this token. It wraps by itself, so no key may be read for that."""
    for old, new in (
        (f'module = "{SOFTHSM2_LIBRARY}"', f'module = "{NSS_LIBRARY}"'),
        (f'token_label = "{name}"', f'token_label = "{nss.label}"'),
        (f'pin_file = "var/{name}/hsm.pin"', f'pin_file = "{nss.pin_file}"'),
        ('softhsm2_conf = "var/softhsm/softhsm2.conf"', f'p11_kit_modules = "{nss.folder}/modules"'),
        ("allow_transient_plaintext = true", "allow_transient_plaintext = false"),
    ):
        platform = _replace(platform, old, new)
    return platform


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
