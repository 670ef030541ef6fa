"""The real SoftHSM2 token of the runs, with the masters of the simulated issuer, taken away and given back.

Rules: one token for each type of vendor master, since the masters' object ids are the same. It is made once for a
process; runs leave nothing on it. Its folder is moved aside in earnest, or its calls are answered with errors.
"""

import shutil
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from pkcs11.exceptions import PKCS11Error

from kms.card.keys import KcvMethod, KeyType
from kms.domain.keys import MasterKind
from kms.hsm.library import get_library
from kms.hsm.vault import TokenVault, open_vault
from tests.contract.tokens import SOFTHSM2, FreshToken, TokenFactory
from tests.fakes.issuer import MASTER_VALUES, build_vendor_key
from tests.fakes.software_keys import check_value
from tests.faults.databases import get_folder
from tests.faults.pkcs11_calls import Pkcs11Calls


class RunToken:
    """A token, and what each process of the platform opens of it."""

    def __init__(self, fresh: FreshToken, calls: Pkcs11Calls) -> None:
        self.calls = calls
        # Whoever comes again finds it at once: the runs' time stands still.
        self._settings = replace(fresh.settings, first_retry_s=0.0, longest_retry_s=0.0)
        self._folder = fresh.folder
        self._aside = fresh.folder.with_name("aside")
        self.vault = open_vault(self._settings)

    def import_masters(self, vendor_type: KeyType) -> None:
        values = MASTER_VALUES | {MasterKind.VENDOR: build_vendor_key(vendor_type)}
        for kind, value in values.items():
            key_type = vendor_type if kind is MasterKind.VENDOR else KeyType.AES256
            method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
            self.vault.import_master(
                str(kind).encode().ljust(16, b"."),
                str(kind),
                key_type=key_type,
                components=[bytearray(value)],
                expected_kcv=check_value(value, key_type, method),
                kcv_method=method,
            )

    def start_process(self) -> TokenVault:
        """A new process opens the token: of the one before no session is left, and nothing that it remembered."""
        library = get_library(self._settings.module)
        with library.lock, suppress(PKCS11Error):  # the token is away: the new process finds out by itself
            library.initialise(self._settings.environment)
        self.vault = open_vault(self._settings)
        return self.vault

    def open_anew(self) -> None:
        """The token is open, and nothing was looked up on it: so each run makes the same calls."""
        self.start_process()
        self.vault.status()

    def take_away(self) -> None:
        """Move its folder aside."""
        if self._folder.exists():
            self._folder.rename(self._aside)

    def give_back(self) -> None:
        """It answers again, whatever was before."""
        self.calls.away = None
        if self._aside.exists():
            self._aside.rename(self._folder)


class Tokens:
    """The tokens of a process, by the type of the vendor's master. Call `close` at the end."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="kms-faults-", dir=get_folder()))
        self._factory = TokenFactory(SOFTHSM2, self._folder / "softhsm")
        (self._folder / "softhsm").mkdir()
        self.calls = Pkcs11Calls(SOFTHSM2.library)
        self.calls.install()
        self.get = cache(self._make)

    @property
    def folder(self) -> Path:
        """For the runs' own files."""
        return self._folder

    def _make(self, vendor_type: KeyType) -> RunToken:
        token = RunToken(self._factory(), self.calls)
        token.import_masters(vendor_type)
        return token

    def close(self) -> None:
        self.calls.restore()
        shutil.rmtree(self._folder, ignore_errors=True)
