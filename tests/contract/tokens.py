"""The tokens that the contract tests run on: how a fresh one of each make is set up, and what each is known to do.

Each make has one folder per test run, since a process loads a library once and initialises it as a whole.
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kms.hsm.library import get_library
from kms.hsm.settings import P11_KIT_MODULES, HsmSettings

PROJECT = Path(__file__).resolve().parents[2]
SOFTHSM2_LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
SOFTHSM2_SETUP = PROJECT / "softhsm" / "setup_token.py"
NSS_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so")
NSS_SETUP = PROJECT / "setup" / "nss_token.py"
# p11-kit reads its module files once in a process, so all NSS tokens of a run are there from the start; one that is
# asked for again is emptied.
NSS_LABELS = [f"nss-{number}" for number in range(8)]

_LABELS = itertools.count(1)


@dataclass(frozen=True)
class TokenMake:
    """A make of token.

    `wraps_des`: wraps triple DES keys by itself. `keeps_optional`: keeps CKA_COPYABLE and CKA_DESTROYABLE of lasting
    objects. `keeps_twins`: two lasting keys may have one CKA_ID. `marks_local`: sets CKA_LOCAL on secret keys it made.
    """

    name: str
    library: Path
    install: str
    wraps_des: bool
    keeps_optional: bool
    keeps_twins: bool
    marks_local: bool

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
)
NSS = TokenMake(
    "nss",
    NSS_LIBRARY,
    "apt-get install libnss3 libnss3-tools p11-kit p11-kit-modules",
    wraps_des=True,
    keeps_optional=False,
    keeps_twins=False,
    marks_local=False,
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
    pool: Iterator[str] = field(default_factory=lambda: itertools.cycle(NSS_LABELS))

    def __call__(self) -> FreshToken:
        if self.make is SOFTHSM2:
            label = f"contract-{next(_LABELS)}"
            environment = self._set_up_softhsm2(label)
        else:
            label = next(self.pool)
            environment = self._set_up_nss(label)
        settings = HsmSettings(
            module=str(self.make.library),
            token_label=label,
            pin=(self.folder / f"{label}.pin").read_text().strip(),
            allow_transient_plaintext=True,
            production=False,
            environment=environment,
            call_timeout_s=5.0,
            first_retry_s=0.05,
            longest_retry_s=0.2,
            heartbeat_s=0.1,
        )
        return FreshToken(self.make, self.folder / "tokens", settings)

    def _set_up_softhsm2(self, label: str) -> dict[str, str]:
        # In a process of its own: SoftHSM2 is initialised once in this one.
        run(SOFTHSM2_SETUP, self.folder, label, "--so-pin-file", str(self.folder / f"{label}.so-pin"))
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def _set_up_nss(self, label: str) -> dict[str, str]:
        fresh, tokens = self.folder / "fresh", self.folder / "tokens"
        if not fresh.exists():
            for each in NSS_LABELS:
                run(NSS_SETUP, self.folder, each)
            shutil.copytree(tokens, fresh)
        shutil.rmtree(tokens / label)
        shutil.copytree(fresh / label, tokens / label)
        environment = {P11_KIT_MODULES: str(self.folder / "modules")}
        library = get_library(str(self.make.library))
        if library.is_initialised:  # it holds the database that was there before
            with library.lock:
                library.initialise(environment)
        return environment


def run(script: Path, folder: Path, label: str, *arguments: str) -> None:
    """Run a set-up script as people do; the PIN's file is named after the token."""
    where = ["--dir", str(folder), "--label", label, "--pin-file", str(folder / f"{label}.pin")]
    subprocess.run([sys.executable, str(script), *where, *arguments], check=True, capture_output=True)
