"""The terminal's memory of the visit under way: one append-only file, on disk before anything happens that it tells of.

Rules: an Order is on disk before its first command reaches the card, the responses before they are reported, so that
no crash repeats a command or loses an answer. A line is a CRC-32 and a JSON object; the first damaged line and all
after it are dropped, with a warning (a torn last line is what a power cut leaves). The file is erased when the visit is
over, has mode 0600 and one writer at a time. It holds what went over the untrusted wire, hence no secret.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from terminal.errors import TerminalCode, TerminalError
from terminal.seram import AgentStatus, Report

FILE_NAME = "visit.journal"


@dataclass(frozen=True)
class OpenVisit:
    """A visit that has not ended, as far as the disk knows.

    `cookies`: of the last Order journalled; `ordered`: whether there was one; `report`: what it was answered with, None
    while that is not known whole.
    """

    session_id: str
    card_identity: bytes
    cookies: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False
    report: Report | None = None


class Journal:
    """The journal file, held open and locked; a context manager."""

    def __init__(self, directory: Path) -> None:
        """Open or make `directory`/visit.journal; raises `journal.busy` while another process holds it."""
        self.path = directory / FILE_NAME
        self.warnings: tuple[str, ...] = ()
        self._open_visit: OpenVisit | None = None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._lock()
            os.fchmod(self._fd, 0o600)
            _sync_directory(directory)
            self._load()
        except BaseException as error:
            os.close(self._fd)
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what is in it stays for the next run."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def find_open_visit(self) -> OpenVisit | None:
        """Return the visit that has not ended, None when there is none."""
        return self._open_visit

    def open_visit(self, session_id: str, card_identity: bytes) -> None:
        """Write that a visit begins; what the file held before is erased."""
        self.erase()
        self._append({"kind": "visit", "session": session_id, "card": card_identity.hex()})

    def add_order(self, cookies: Mapping[str, str], commands: tuple[tuple[bytes, ...], ...]) -> None:
        """Write an Order: its cookies and command APDUs. Returns once they are on disk."""
        self._append({"kind": "order", "cookies": dict(cookies), "commands": _to_hex(commands)})

    def add_report(self, report: Report) -> None:
        """Write the Report that answers the last Order. Returns once it is on disk."""
        self._append(
            {
                "kind": "report",
                "status": report.status,
                "executed": report.executed,
                "responses": _to_hex(report.responses),
                "error": report.error,
            }
        )

    def erase(self) -> None:
        """Forget the visit: it ended, or the server does not know it any more."""
        try:
            os.ftruncate(self._fd, 0)
            os.fsync(self._fd)
        except OSError as error:
            raise self._failed(error) from error
        self._open_visit = None

    def _append(self, record: dict[str, object]) -> None:
        text = json.dumps(record, separators=(",", ":"))
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        try:
            while line:
                line = line[os.write(self._fd, line) :]
            os.fsync(self._fd)
        except OSError as error:
            raise self._failed(error) from error
        self._open_visit = _apply(self._open_visit, record)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TerminalError(
                TerminalCode.JOURNAL_BUSY,
                f"Another kms-terminal is using the journal {self.path}.",
                "Wait until it is done, or give this one a journal directory and a reader of its own.",
            ) from error

    def _load(self) -> None:
        content = self.path.read_bytes()
        sound = 0
        for line in content.splitlines(keepends=True):
            record = _parse_line(line)
            if record is None:
                break
            try:
                self._open_visit = _apply(self._open_visit, record)
            except (KeyError, TypeError, ValueError, AttributeError):
                break
            sound += len(line)
        if sound < len(content):
            os.ftruncate(self._fd, sound)
            os.fsync(self._fd)
            dropped = f"The journal {self.path} was damaged after byte {sound} (a power cut does that)."
            self.warnings = (f"{dropped} The damaged end was dropped; the server will look at the card first.",)

    def _failed(self, error: OSError) -> TerminalError:
        return TerminalError(
            TerminalCode.JOURNAL_FAILED,
            f"The journal {self.path} cannot be used ({error.strerror}).",
            "Make room, or give this user the right to write there; no card is served without a journal.",
        )


def _sync_directory(directory: Path) -> None:
    """Put the file's name on disk: fsync of the file alone leaves a new one without it (fsync(2), notes)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse_line(line: bytes) -> dict[str, object] | None:
    checksum, separator, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not separator or checksum != f"{zlib.crc32(text):08x}".encode():
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _apply(visit: OpenVisit | None, record: Mapping[str, object]) -> OpenVisit:
    """Fold one record into what is known; raises KeyError, TypeError, ValueError or AttributeError on a wrong one."""
    kind = record["kind"]
    if kind == "visit":
        return OpenVisit(str(record["session"]), bytes.fromhex(str(record["card"])))
    if visit is None:
        raise ValueError("record before its visit")
    if kind == "order":
        cookies = record["cookies"]
        if not isinstance(cookies, dict):
            raise TypeError("cookies")
        return replace(visit, cookies=cookies, ordered=True, report=None)
    if kind == "report":
        executed, responses = record["executed"], record["responses"]
        if not isinstance(executed, int) or not isinstance(responses, list):
            raise TypeError("report")
        answered = tuple(tuple(bytes.fromhex(apdu) for apdu in apdus) for apdus in responses)
        return replace(
            visit, report=Report(AgentStatus(str(record["status"])), executed, answered, str(record["error"]))
        )
    raise ValueError("unknown record")


def _to_hex(groups: tuple[tuple[bytes, ...], ...]) -> list[list[str]]:
    return [[apdu.hex() for apdu in apdus] for apdus in groups]
