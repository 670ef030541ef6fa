"""An installation on disk for the command line: configuration, card profile, PIN file and database; no HSM."""

from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from kms.cli import cli
from kms.db.store import SqlStore, open_store
from tests.fakes.stores import build_database

PROFILES = Path(__file__).resolve().parents[2] / "config" / "card_profiles"

CONFIG = """
[platform]
name = "{name}"
role = "{name}"
mode = "lab"

[database]
url = "{url}"

[hsm]
module = "{module}"
token_label = "{name}"
pin_file = "{pin_file}"
{conf}allow_transient_plaintext = true
call_timeout_s = 10

[server]
host = "127.0.0.1"
port = 8443
certificate = "server.pem"
private_key = "server.key"
client_ca = "ca.pem"
workers = 1
threads = 1

[visits]
deadline_seconds = 300
max_reconciliations = 3
delay_ms = 0

[cards]
profiles_dir = "{profiles}"
take_over_isd = false
"""


@dataclass(frozen=True)
class Installation:
    """`url`: the database's, as the configuration names it. `name`: the platform's, its role's and its token's."""

    folder: Path
    url: str
    name: str = "issuer"

    @property
    def config(self) -> Path:
        return self.folder / f"{self.name}.toml"

    def run(self, *arguments: str) -> Result:
        """Run `kms ARGUMENTS` and give its exit code, standard output and standard error."""
        return CliRunner().invoke(cli, ["--config", str(self.config), *arguments])

    def open_store(self) -> SqlStore:
        return open_store(self.url)


@dataclass(frozen=True)
class RealToken:
    """A token that is there: its PKCS#11 library, its PIN's file, and SoftHSM2's configuration."""

    module: str
    pin_file: Path
    conf: Path


def build_installation(
    folder: Path, url: str | None = None, *, name: str = "issuer", token: RealToken | None = None
) -> Installation:
    """An installation in `folder`. `url`: of its database; without one it gets a SQLite file with the newest schema.

    `token`: labelled with the platform's name; without one the HSM is away.
    """
    url = url or build_database(folder)
    module, pin_file = (token.module, token.pin_file) if token else ("/nowhere/libhsm.so", "hsm.pin")
    conf = f'softhsm2_conf = "{token.conf}"\n' if token else ""
    text = CONFIG.format(profiles=PROFILES, url=url, name=name, module=module, pin_file=pin_file, conf=conf)
    installation = Installation(folder, url, name)
    installation.config.write_text(text, encoding="utf-8")
    if token is None:
        pin = folder / "hsm.pin"
        pin.write_text("1234\n", encoding="utf-8")
        pin.chmod(0o600)
    return installation
