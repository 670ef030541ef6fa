"""NSS softokn tokens of a test run: one folder for the whole process, since p11-kit reads its module files once.

All tokens are there from the start under fixed labels; one that is asked for again is emptied. Emptying initialises the
library anew in this process, so what another test has open reconnects; other processes see only their own token.
"""

import atexit
import itertools
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from demo.installation import NSS_LIBRARY, NSS_SETUP, NssToken
from kms.hsm.library import get_library
from kms.hsm.settings import P11_KIT_MODULES

INSTALL = "apt-get install libnss3 libnss3-tools p11-kit p11-kit-modules"
_COUNT = 16


class NssTokens:
    """The tokens of this process. `folder`: holds tokens/ and modules/, as `setup/nss_token.py` makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        labels = [f"nss-{number}" for number in range(_COUNT)]
        for label in labels:
            where = ["--dir", str(folder), "--label", label, "--pin-file", str(folder / f"{label}.pin")]
            subprocess.run([sys.executable, str(NSS_SETUP), *where], check=True, capture_output=True)
        self._fresh = shutil.copytree(folder / "tokens", folder / "fresh")
        self._labels = itertools.cycle(labels)

    @property
    def environment(self) -> dict[str, str]:
        """For `HsmSettings`."""
        return {P11_KIT_MODULES: str(self.folder / "modules")}

    def take(self) -> NssToken:
        """An empty token; the one that was taken longest ago."""
        label = next(self._labels)
        database = self.folder / "tokens" / label
        shutil.rmtree(database)
        shutil.copytree(self._fresh / label, database)
        library = get_library(str(NSS_LIBRARY))
        if library.is_initialised:  # it holds the database that was there before
            with library.lock:
                library.initialise(self.environment)
        return NssToken(self.folder, label, self.folder / f"{label}.pin")


@cache
def get_nss_tokens() -> NssTokens:
    """The tokens of this process, removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="kms-nss-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return NssTokens(folder)
