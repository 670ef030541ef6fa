"""The exported audit log and the anchors outside, as files: one line each, and nothing else is taken.

Rules: an export is a header, and then the log in its one order; it ends with a checkpoint, so that a signature covers
every record. It is checked as it is read, a line at a time, with public data only.
"""

import hmac
import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from kms.domain.audit_chain import Checkpoint, build_time, parse_log_line
from kms.domain.audit_check import Anchor, LogCheck, LogReport
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError

LOG_TYPE = "kms-audit-log"
ANCHOR_TYPE = "kms-audit-anchor"
VERSION = 1
_TIME_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def build_header_line(platform: str, key: bytes) -> bytes:
    """The first line: whose log it is, and the SubjectPublicKeyInfo that verifies its first checkpoint."""
    return _encode({"key": key.hex(), "platform": platform, "type": LOG_TYPE, "version": VERSION})


def check_export(lines: Iterable[bytes], key_fingerprint: str = "", anchors: Collection[Anchor] = ()) -> LogReport:
    """Check an exported log. `lines`: without line ends. `key_fingerprint`: of the first key, as `fingerprint` writes.

    Without a fingerprint the header's key is believed, and only people who compare it know whose signatures they are.
    Raises `audit.broken`.
    """
    source = iter(lines)
    platform, key = parse_header_line(next(source, b""))
    check_fingerprint(key, key_fingerprint)
    check = LogCheck(platform, key, anchors)
    for line in source:
        item = parse_log_line(line)
        if isinstance(item, Checkpoint):
            check.take_checkpoint(item)
        else:
            check.take_record(item)
    return check.finish(covered=True)


def check_fingerprint(key: bytes, expected: str) -> None:
    """Raise `audit.broken` unless the log's first key has this fingerprint; an empty one is not compared."""
    if expected and not hmac.compare_digest(_strip(fingerprint(key)).encode(), _strip(expected).encode()):
        raise KmsError(Code.AUDIT_BROKEN, "The log names another audit key than the fingerprint given.")


def build_anchor_line(platform: str, anchor: Anchor) -> bytes:
    """An anchor as it is written outside the database, without the line end."""
    fields = {
        "at": build_time(anchor.at),
        "digest": anchor.digest.hex(),
        "number": anchor.number,
        "platform": platform,
        "type": ANCHOR_TYPE,
        "version": VERSION,
    }
    return _encode(fields)


def parse_anchor_line(line: bytes, platform: str) -> Anchor:
    """Read an anchor of this platform. Raises `audit.broken`."""
    try:
        fields = json.loads(line)
        at = datetime.strptime(fields["at"], _TIME_FORM).replace(tzinfo=UTC)
        anchor = Anchor(int(fields["number"]), bytes.fromhex(fields["digest"]), at)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KmsError(Code.AUDIT_BROKEN, "A line of the anchors is no anchor.") from None
    if build_anchor_line(platform, anchor) != line:
        raise KmsError(Code.AUDIT_BROKEN, "An anchor is another platform's, or not written as this program writes it.")
    return anchor


def parse_header_line(line: bytes) -> tuple[str, bytes]:
    """The platform whose log it is, and its first key. Raises `audit.broken`."""
    try:
        fields = json.loads(line)
        platform, key = str(fields["platform"]), bytes.fromhex(fields["key"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KmsError(Code.AUDIT_BROKEN, "This is no exported audit log: its first line is no header.") from None
    if build_header_line(platform, key) != line:
        raise KmsError(Code.AUDIT_BROKEN, "The header is not written as this program writes it.")
    return platform, key


def _strip(text: str) -> str:
    return text.replace(" ", "").upper()


def _encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
