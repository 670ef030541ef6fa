"""SoftHSM2 tokens for the contract tests: one folder per test run, since a process loads the library once."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kms.card.keys import KeyType, MasterRef
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import TokenVault, open_vault
from kms.service.ports import NewMaster

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
SETUP = Path(__file__).parents[2] / "softhsm" / "setup_token.py"

_LABELS = itertools.count(1)


@dataclass(frozen=True)
class SoftToken:
    """A fresh token: the folder that holds it (and all others of this run), and the settings that open it."""

    folder: Path
    settings: HsmSettings


@pytest.fixture(scope="session")
def softhsm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not Path(LIBRARY).exists():
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2")
    return tmp_path_factory.mktemp("softhsm")


@pytest.fixture(scope="session")
def make_token(softhsm_folder: Path) -> Callable[[], SoftToken]:
    """Make a token with a label of its own; SOFTHSM2_CONF stays the same for the whole run."""

    def make() -> SoftToken:
        label = f"contract-{next(_LABELS)}"
        pin_file, so_pin_file = softhsm_folder / f"{label}.pin", softhsm_folder / f"{label}.so-pin"
        command = [sys.executable, str(SETUP), "--dir", str(softhsm_folder), "--label", label]
        # In a process of its own: SoftHSM2 is initialised once in this one.
        subprocess.run(
            [*command, "--pin-file", str(pin_file), "--so-pin-file", str(so_pin_file)], check=True, capture_output=True
        )
        settings = HsmSettings(
            module=LIBRARY,
            token_label=label,
            pin=pin_file.read_text().strip(),
            allow_transient_plaintext=True,
            production=False,
            environment={"SOFTHSM2_CONF": str(softhsm_folder / "softhsm2.conf")},
            call_timeout_s=5.0,
            first_retry_s=0.05,
            longest_retry_s=0.2,
            heartbeat_s=0.1,
        )
        return SoftToken(softhsm_folder / "tokens", settings)

    return make


@pytest.fixture
def token(make_token: Callable[[], SoftToken]) -> SoftToken:
    return make_token()


@pytest.fixture
def vault(token: SoftToken) -> Iterator[TokenVault]:
    opened = open_vault(token.settings)
    yield opened
    opened.close()


@pytest.fixture
def gateway(token: SoftToken) -> Iterator[Gateway]:
    opened = Gateway(token.settings)
    yield opened
    opened.close()


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    """Expect a `KmsError` of this code."""
    return pytest.raises(KmsError, match=f"^{code}: ")


def refer(made: NewMaster, key_type: KeyType = KeyType.AES256) -> MasterRef:
    """The reference to a master that was just made."""
    return MasterRef(made.object_id, key_type, made.kcv, made.kcv_method)
