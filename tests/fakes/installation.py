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
name = "issuer"
role = "issuer"
mode = "lab"

[database]
url = "{url}"

[hsm]
module = "/nowhere/libhsm.so"
token_label = "issuer"
pin_file = "hsm.pin"
allow_transient_plaintext = true
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

[keys.cryptoperiod_days]
isd = 1095
ssd-initial = 90
ssd = 365
"""


@dataclass(frozen=True)
class Installation:
    """`url`: the database's, as the configuration names it."""

    folder: Path
    url: str

    @property
    def config(self) -> Path:
        return self.folder / "issuer.toml"

    def run(self, *arguments: str) -> Result:
        """Run `kms ARGUMENTS` and give its exit code, standard output and standard error."""
        return CliRunner().invoke(cli, ["--config", str(self.config), *arguments])

    def open_store(self) -> SqlStore:
        return open_store(self.url)


def build_installation(folder: Path, url: str | None = None) -> Installation:
    """An installation in `folder`. `url`: of its database; without one it gets a SQLite file with the newest schema."""
    url = url or build_database(folder)
    (folder / "issuer.toml").write_text(CONFIG.format(profiles=PROFILES, url=url), encoding="utf-8")
    pin = folder / "hsm.pin"
    pin.write_text("1234\n", encoding="utf-8")
    pin.chmod(0o600)
    return Installation(folder, url)
