"""The PKCS#11 library of this process: loaded once, one lock around every call, initialised as a whole.

Rules: python-pkcs11 calls C_Initialize(NULL) and releases the GIL, so two threads in the library at once crash or hang
the process: every call is made under `Library.lock`. Initialising again ends all sessions of the process, whoever
opened them; `epoch` counts it, so that each owner of a session notices.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pkcs11
from pkcs11.exceptions import PKCS11Error

from kms.errors import Code, KmsError
from kms.hsm.p11_kit import use_modules
from kms.hsm.settings import P11_KIT_MODULES
from kms.hsm.softhsm_tokens import restore_tokens

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as LoadedLibrary  # noqa: N812 - the library's class has a lower-case name

_LIBRARIES: dict[str, "Library"] = {}
_LIBRARIES_LOCK = threading.Lock()


class Library:
    """One PKCS#11 module in this process. `epoch`: how often it was initialised; 0: not yet."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.lock = threading.Lock()
        self.epoch = 0
        self.environment: dict[str, str] = {}
        self._process = os.getpid()
        self._loaded: LoadedLibrary | None = None

    def check_process(self) -> None:
        """Raise `hsm.unavailable` in a process forked after the library was initialised.

        PKCS#11 2.40 section 2.1: what a child does with its parent's sessions is undefined, and finalising them here
        could log the parent out. Reads two numbers and takes no lock: the parent's may have been held at the fork.
        """
        if self.epoch and self._process != os.getpid():
            raise KmsError(
                Code.HSM_UNAVAILABLE,
                "the HSM was opened before this process was forked; open it after the worker has started",
            )

    def initialise(self, environment: Mapping[str, str]) -> None:
        """Initialise the library, ending every session of this process. Under `lock`.

        Raises PKCS11Error, and `hsm.unavailable` when there is no such library.
        """
        if not Path(self.module).exists():
            raise KmsError(
                Code.HSM_UNAVAILABLE,
                f"there is no PKCS#11 library at {self.module}; install it (Debian: softhsm2) or correct hsm.module",
            )
        if "SOFTHSM2_CONF" in environment:
            restore_tokens(Path(environment["SOFTHSM2_CONF"]))
        os.environ.update(environment)
        if P11_KIT_MODULES in environment:
            use_modules(Path(environment[P11_KIT_MODULES]))
        self.environment = dict(environment)
        self._process = os.getpid()
        self.epoch += 1
        if self._loaded is None:
            self._loaded = pkcs11.lib(self.module)
            return
        if self._loaded.initialized:
            with suppress(PKCS11Error):  # a token that went away may refuse to be finalised; it is over all the same
                self._loaded.finalize()
        self._loaded.initialize()

    @property
    def is_initialised(self) -> bool:
        """Whether the last try to initialise succeeded."""
        return self._loaded is not None and self._loaded.initialized

    def find_token(self, label: str) -> pkcs11.Token | None:
        """The one token of that label, or None. Under `lock`.

        Raises PKCS11Error; `config.invalid` when several have the label.
        """
        if self._loaded is None:
            return None
        try:
            return self._loaded.get_token(token_label=label)
        except pkcs11.NoSuchToken:
            return None
        except pkcs11.MultipleTokensReturned as error:
            raise KmsError(
                Code.CONFIG_INVALID, f"several tokens are labelled {label!r}; give hsm.token_label a label of its own"
            ) from error


def get_library(module: str) -> Library:
    """The process's one `Library` for a module path; makes no PKCS#11 call."""
    with _LIBRARIES_LOCK:
        return _LIBRARIES.setdefault(module, Library(module))
