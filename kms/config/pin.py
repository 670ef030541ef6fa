"""The HSM PIN, read from where the configuration says, at the moment it is needed.

Rules: the PIN is in no frozen value and in no error; a file that others can read is refused.
"""

import os
import stat
from pathlib import Path

from kms.config.values import HsmConfig
from kms.errors import Code, Fault, KmsError


def read_pin(hsm: HsmConfig) -> str:
    """Read the token's user PIN. Raises `config.invalid` when it is not there, empty, or readable by others."""
    if hsm.pin_env is not None:
        pin = os.environ.get(hsm.pin_env, "")
        if not pin:
            raise _error("hsm.pin_env", f"The environment variable {hsm.pin_env} is not set or empty")
        return pin
    if hsm.pin_file is None:
        raise _error("hsm.pin_file", "Give exactly one of pin_file and pin_env")
    return _read_pin_file(hsm.pin_file)


def _read_pin_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o177:
                raise _error(
                    "hsm.pin_file", f"{path} has mode {mode:04o}; only its owner may read it: chmod 0600 {path}"
                )
            pin = file.readline().rstrip("\r\n")
    except OSError as error:
        raise _error("hsm.pin_file", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _error("hsm.pin_file", f"{path} is not UTF-8 text") from None  # the error's own text shows file content
    if not pin:
        raise _error("hsm.pin_file", f"{path} is empty")
    return pin


def _error(field: str, what: str) -> KmsError:
    return KmsError(Code.CONFIG_INVALID, what, faults=(Fault(field, what),))
