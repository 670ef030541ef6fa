"""The file that holds a login of the command line: one for each server, readable by its owner alone.

Rules: the file holds the login session's secret and nothing else that is secret; it stands in the user's state folder
(XDG_STATE_HOME), never in the project's.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kms.errors import Code, KmsError


@dataclass(frozen=True)
class SavedLogin:
    """A login. `server`: the console's address. `ca`: file of the authority of its certificate; empty: the system's."""

    server: str
    ca: str
    login: str
    secret: str = field(repr=False)


def find_login(server: str) -> SavedLogin | None:
    """The login at this server, if there is one. Raises `login.needed` for a file that others can read."""
    path = _find_path(server)
    try:
        if path.stat().st_mode & 0o077:
            raise KmsError(Code.LOGIN_NEEDED, f"{path} can be read by others: remove it, then `kms login`.")
        return SavedLogin(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        raise KmsError(Code.LOGIN_NEEDED, f"{path} cannot be read: remove it, then `kms login`.") from None


def save_login(login: SavedLogin) -> None:
    """Write the login's file in the place of the one before, whole or not at all."""
    path = _find_path(login.server)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(login), file)
    new.replace(path)


def remove_login(server: str) -> None:
    """Remove the login's file, if there is one."""
    _find_path(server).unlink(missing_ok=True)


def _find_path(server: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "kms" / f"login-{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"
