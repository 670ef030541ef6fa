"""The database's anchor: a small file outside it that names the newest audit event (`kms.service.ports.Anchor`).

Rules: it is written whole or not at all (a new file takes the old one's place). It holds no secret; whoever can write
it can make a restore go unnoticed, so it belongs to the service's user and, best, to another disk than the database.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from kms.domain.recovery import AnchorMark
from kms.errors import Code, KmsError

VERSION = 1


class FileAnchor:
    """An anchor in a file, by its path; the file need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> AnchorMark | None:
        """Read it; None where there is no file. Raises `config.invalid` for one that cannot be read or understood."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(f"cannot be read ({error.strerror})") from error
        try:
            stored = json.loads(text)
            at = datetime.fromisoformat(stored["event_at"]).astimezone(UTC)
            refused = tuple(bytes.fromhex(item) for item in stored["refused_terminals"])
            mark, version = AnchorMark(str(stored["event_id"]), at, refused), stored["version"]
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable("is not what this program writes") from error
        if version != VERSION:
            raise _unreadable("is of another version of this program")
        return mark

    def write(self, mark: AnchorMark) -> None:
        """Write it. Raises `config.invalid` where the folder does not let it be written."""
        stored = {
            "version": VERSION,
            "event_id": mark.event_id,
            "event_at": mark.event_at.astimezone(UTC).isoformat(),
            "refused_terminals": [item.hex() for item in mark.refused_terminals],
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(stored))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError as error:
            raise _unreadable(f"cannot be written ({error.strerror})") from error


def _unreadable(what: str) -> KmsError:
    return KmsError(Code.CONFIG_INVALID, f"The file of recovery.anchor_file {what}: mend or remove it.")
