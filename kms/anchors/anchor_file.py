"""Anchors in a file: one line for each checkpoint, appended and synced (`kms.domain.audit_export`).

Rules: the file is only ever appended to; keep it on another disk than the database, best on another machine. Whoever
checks the log reads it whole, and refuses a line that is no anchor of this platform.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from kms.domain.audit_check import Anchor
from kms.domain.audit_export import build_anchor_line, parse_anchor_line
from kms.errors import Code, KmsError

MAX_LINE = 1024  # bytes, more than an anchor takes


class AnchorFile:
    """`kms.service.audit_log.AnchorWriter` on a file, made when first written to, readable by its owner's group."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, platform: str, anchor: Anchor) -> None:
        """Append the anchor unless the last line is of the same checkpoint. Raises `audit.anchor`."""
        line = build_anchor_line(platform, anchor)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            try:
                tail = _read_tail(descriptor)
                if _names(tail, anchor):
                    return
                # A line that a crash cut off is ended first, so that it spoils itself alone.
                start = b"" if not tail or tail.endswith(b"\n") else b"\n"
                os.write(descriptor, start + line + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            text = f"The anchor file {self._path} cannot be written: {error.strerror}."
            raise KmsError(Code.AUDIT_ANCHOR, text) from error


def read_anchors(path: Path, platform: str) -> Sequence[Anchor]:
    """Read all anchors of a file; a line that a crash cut off is none.

    Raises `input.invalid` when the file cannot be read, `audit.broken` for a line that is something else.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise KmsError(Code.INPUT_INVALID, f"The anchor file {path} cannot be read: {error.strerror}.") from error
    return [parse_anchor_line(line, platform) for line in lines if line.endswith(b"}")]


def _read_tail(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, MAX_LINE, max(0, size - MAX_LINE))


def _names(tail: bytes, anchor: Anchor) -> bool:
    last = tail.rstrip(b"\n").rsplit(b"\n", 1)[-1]
    return f'"digest":"{anchor.digest.hex()}"'.encode() in last and tail.endswith(b"\n")
