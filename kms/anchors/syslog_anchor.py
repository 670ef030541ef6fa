"""Anchors in the system's log, which sites send to another machine.

Rules: a line is what the anchor file holds, so that lines cut out of a log server's files check the same way.
"""

import syslog

from kms.domain.audit_check import Anchor
from kms.domain.audit_export import build_anchor_line


class SyslogAnchor:
    """`kms.service.audit_log.AnchorWriter` on syslog(3): facility AUTHPRIV, level NOTICE."""

    def __init__(self) -> None:
        self._last = b""

    def write(self, platform: str, anchor: Anchor) -> None:
        """Log the anchor unless this process logged it last; syslog says nothing of what became of it."""
        if anchor.digest == self._last:
            return
        line = build_anchor_line(platform, anchor).decode("ascii")
        syslog.syslog(syslog.LOG_AUTHPRIV | syslog.LOG_NOTICE, f"kms audit anchor {line}")
        self._last = anchor.digest
