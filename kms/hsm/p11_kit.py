"""Tells p11-kit which module files to read, for a token that is loaded through it (NSS softokn, for one).

Rules: p11-kit reads its module files from /etc/pkcs11, and from the user's own folder unless the user is root. Neither
is this server's to write, and a test needs folders of its own, so the folder is named by the configuration. Called
before C_Initialize alone; p11-kit keeps the pointers it is given, so the strings live as long as the process.
"""

import ctypes
import os
from pathlib import Path

from kms.errors import Code, KmsError

LIBRARY = "libp11-kit.so.0"  # what p11-kit-proxy.so is

_KEPT: list[bytes] = []


def use_modules(folder: Path) -> None:
    """Make p11-kit read the module files in `folder` and no others. Raises `hsm.unavailable` without p11-kit."""
    try:
        override = ctypes.CDLL(LIBRARY).p11_kit_override_system_files
    except (OSError, AttributeError) as error:
        raise KmsError(
            Code.HSM_UNAVAILABLE,
            f"hsm.p11_kit_modules is set, but {LIBRARY} cannot be used; install p11-kit (Debian: p11-kit-modules)",
        ) from error
    override.argtypes = [ctypes.c_char_p] * 5
    override.restype = None
    modules, nothing = os.fsencode(folder), os.fsencode(folder / "none")
    _KEPT.extend((modules, nothing))
    # System configuration file, the user's, and the folders of the packages', the system's and the user's modules.
    override(nothing, nothing, modules, nothing, nothing)
