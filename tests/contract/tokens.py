"""The tokens that the contract tests run on: how a fresh one of each make is set up, and what each is known to do.

Each make has one folder per test run, since a process loads a library once and initialises it as a whole.
"""

import itertools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.installation import NSS_LIBRARY, SOFTHSM2_LIBRARY
from kms.hsm.settings import HsmSettings
from tests.fakes.nss_tokens import INSTALL, get_nss_tokens

PROJECT = Path(__file__).resolve().parents[2]
SOFTHSM2_SETUP = PROJECT / "softhsm" / "setup_token.py"
_LABELS = itertools.count(1)


@dataclass(frozen=True)
class TokenMake:
    """A make of token.

    `wraps_des`: wraps triple DES keys by itself. `keeps_optional`: keeps CKA_COPYABLE and CKA_DESTROYABLE of lasting
    objects. `keeps_twins`: two lasting keys may have one CKA_ID. `marks_local`: sets CKA_LOCAL on secret keys it made.
    `keeps_extractable`: does not wrap a key that is not CKA_EXTRACTABLE.
    """

    name: str
    library: Path
    install: str
    wraps_des: bool
    keeps_optional: bool
    keeps_twins: bool
    marks_local: bool
    keeps_extractable: bool

    @property
    def strategy(self) -> str:
        """How triple DES keys leave it for a card, where reading them for a moment is allowed."""
        return "native" if self.wraps_des else "transient"


SOFTHSM2 = TokenMake(
    "softhsm2",
    SOFTHSM2_LIBRARY,
    "apt-get install softhsm2",
    wraps_des=False,
    keeps_optional=True,
    keeps_twins=True,
    marks_local=True,
    keeps_extractable=True,
)
NSS = TokenMake(
    "nss",
    NSS_LIBRARY,
    INSTALL,
    wraps_des=True,
    keeps_optional=False,
    keeps_twins=False,
    marks_local=False,
    keeps_extractable=False,
)
MAKES = {make.name: make for make in (SOFTHSM2, NSS)}


@dataclass(frozen=True)
class FreshToken:
    """A fresh token: the folder that holds it (and all others of its make), and the settings that open it."""

    make: TokenMake
    folder: Path
    settings: HsmSettings


@dataclass
class TokenFactory:
    """Makes tokens of one make in one folder, each with a label of its own."""

    make: TokenMake
    folder: Path

    def __call__(self) -> FreshToken:
        if self.make is NSS:
            taken = get_nss_tokens().take()
            folder, label, pin_file = taken.folder, taken.label, taken.pin_file
            environment = get_nss_tokens().environment
        else:
            folder, label = self.folder, f"contract-{next(_LABELS)}"
            pin_file = folder / f"{label}.pin"
            environment = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
            _set_up_softhsm2(folder, label, pin_file)
        settings = HsmSettings(
            module=str(self.make.library),
            token_label=label,
            pin=pin_file.read_text().strip(),
            allow_transient_plaintext=True,
            production=False,
            environment=environment,
            call_timeout_s=5.0,
            first_retry_s=0.05,
            longest_retry_s=0.2,
            heartbeat_s=0.1,
        )
        return FreshToken(self.make, folder / "tokens", settings)


def _set_up_softhsm2(folder: Path, label: str, pin_file: Path) -> None:
    # In a process of its own: SoftHSM2 is initialised once in this one.
    pins = ["--pin-file", str(pin_file), "--so-pin-file", str(folder / f"{label}.so-pin")]
    command = [sys.executable, str(SOFTHSM2_SETUP), "--dir", str(folder), "--label", label, *pins]
    subprocess.run(command, check=True, capture_output=True)
