"""The journal: what is on disk when, what survives damage."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminal.errors import TerminalCode, TerminalError
from terminal.journal import FILE_NAME, Journal, OpenVisit
from terminal.seram import AgentStatus, Report

REPORT = Report(AgentStatus.PROCESSED, 1, ((b"\x90\x00", b""),), "")


def fill(directory: Path) -> None:
    with Journal(directory) as journal:
        journal.open_visit("session-1", b"\x01\x02")
        journal.add_order({"kms-order": "1"}, ((b"\x80\xca\x00\x42\x00",),))
        journal.add_report(REPORT)


def read(directory: Path) -> OpenVisit | None:
    with Journal(directory) as journal:
        return journal.find_open_visit()


def test_a_new_journal_knows_no_visit(tmp_path: Path) -> None:
    assert read(tmp_path / "a" / "b") is None


def test_a_new_journal_s_name_is_on_disk_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    with Journal(tmp_path) as journal:
        assert synced == [True]
        journal.open_visit("session-1", b"\x01\x02")
    assert synced[-1] is False


def test_each_step_is_found_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.open_visit("session-1", b"\x01\x02")
    assert read(tmp_path) == OpenVisit("session-1", b"\x01\x02")
    with Journal(tmp_path) as journal:
        journal.add_order({"kms-order": "1"}, ((b"\x80\xca\x00\x42\x00",),))
    assert read(tmp_path) == OpenVisit("session-1", b"\x01\x02", {"kms-order": "1"}, ordered=True)
    with Journal(tmp_path) as journal:
        journal.add_report(REPORT)
    assert read(tmp_path) == OpenVisit("session-1", b"\x01\x02", {"kms-order": "1"}, ordered=True, report=REPORT)
    with Journal(tmp_path) as journal:
        journal.add_order({"kms-order": "2"}, ())
    assert read(tmp_path) == OpenVisit("session-1", b"\x01\x02", {"kms-order": "2"}, ordered=True)


def test_an_order_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.open_visit("session-1", b"\x01")
        journal.add_order({"kms-order": "7"}, ((b"\x80\xca\x00\x42\x00",),))
        assert b"80ca004200" in (tmp_path / FILE_NAME).read_bytes()


def test_an_ended_visit_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    with Journal(tmp_path) as journal:
        journal.erase()
        assert journal.find_open_visit() is None
    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    fill(tmp_path / "journal")
    assert stat.S_IMODE((tmp_path / "journal" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


def test_one_terminal_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(TerminalError) as caught:
        Journal(tmp_path)
    assert caught.value.code is TerminalCode.JOURNAL_BUSY
    read(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TerminalError) as caught:
        Journal(tmp_path / "file" / "journal")
    assert caught.value.code is TerminalCode.JOURNAL_FAILED
    assert str(tmp_path) in caught.value.problem


def test_a_torn_tail_is_dropped_with_a_warning(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-3])
    with Journal(tmp_path) as journal:
        assert journal.find_open_visit() == OpenVisit("session-1", b"\x01\x02", {"kms-order": "1"}, ordered=True)
        assert "damaged" in journal.warnings[0]
        journal.add_report(REPORT)
    with Journal(tmp_path) as journal:
        assert journal.warnings == ()
        assert journal.find_open_visit() is not None


def test_what_follows_damage_is_not_believed(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"80ca", b"80cb") + lines[2])
    assert read(tmp_path) == OpenVisit("session-1", b"\x01\x02")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_no_damage_makes_up_a_report(tmp_path: Path, position: int, value: int, cut: int) -> None:
    fill(tmp_path)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(bytes(content)[: max(1, cut % (len(content) + 1))])
    visit = read(tmp_path)
    assert visit is None or visit.report in (None, REPORT)
    with Journal(tmp_path) as journal:
        journal.erase()
