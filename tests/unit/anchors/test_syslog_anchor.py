"""Anchors go to the system's log, once each, as lines that check like the file's."""

import syslog

import pytest

from kms.anchors.syslog_anchor import SyslogAnchor
from kms.domain.audit_check import Anchor
from kms.domain.audit_export import parse_anchor_line
from tests.fakes.audit_log import START

ANCHOR = Anchor(1, bytes(32), START)


def test_each_checkpoint_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: logged.append((priority, text)))
    place = SyslogAnchor()
    place.write("bank", ANCHOR)
    place.write("bank", ANCHOR)
    ((priority, text),) = logged
    assert priority == syslog.LOG_AUTHPRIV | syslog.LOG_NOTICE
    assert parse_anchor_line(text.removeprefix("kms audit anchor ").encode(), "bank") == ANCHOR
