"""What people and machines get to see."""

import json

import pytest

from terminal.client import Applied, PendingCard, PendingWork
from terminal.config import IdentitySource
from terminal.errors import TerminalCode, TerminalError, card_gone
from terminal.identity import CardDetails, KeyInfo
from terminal.output import Screen, show_error
from terminal.reader import ReaderStatus
from terminal.relay import VisitSummary

SUMMARY = VisitSummary("s-1", b"\x01\xab", 5, 4, 1.234, None, resumed=False, notifications=("done",))
DETAILS = CardDetails(
    b"\x01",
    IdentitySource.CPLC,
    ((IdentitySource.CPLC, b"\x01"),),
    isd_aid=bytes.fromhex("A000000151000000"),
    scp02_i=0x55,
    scp03_i=None,
    keys=(KeyInfo(0xFF, 1, ((0x80, 16),)),),
    kdd=b"\x00" * 10,
    kvn=0xFF,
    atr=b"\x3b\x00",
)


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_summary_counts_commands_requests_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False).show_summary(SUMMARY)
    assert "5 commands, 4 requests, 1.23 s" in capsys.readouterr().out
    Screen(as_json=True).show_summary(SUMMARY)
    (line,) = read_lines(capsys)
    assert (line["commands"], line["requests"], line["complete"], line["card"]) == (5, 4, True, "01AB")


def test_a_visit_broken_off_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    broken = VisitSummary("s", b"\x01", 1, 4, 1.0, card_gone(), resumed=True, notifications=())
    Screen(as_json=False).show_summary(broken)
    assert "broken off" in capsys.readouterr().out


def test_a_servers_text_cannot_command_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False).on_notification("\x1b[2Jgone [bold]x[/bold]\r\n" + "y" * 9000)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown
    assert len(shown) < 600
    Screen(as_json=True).on_notification("\x1b[2J")
    assert read_lines(capsys) == [{"event": "notification", "text": " [2J"}]


def test_a_visit_is_heard_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    screen.on_apdu(1, "PUT KEY", "9000")
    screen.on_retry("down", 0.5)
    screen.on_resumed("s-1")
    screen.show_applied(Applied("s-1", "REQUESTED"))
    assert [line["event"] for line in read_lines(capsys)] == ["command", "retry", "resumed", "applied"]
    Screen(as_json=False).on_apdu(1, "PUT KEY", "")
    assert "no answer" in capsys.readouterr().out


def test_readers_pending_work_and_cards_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False)
    screen.show_readers([])
    screen.show_readers([ReaderStatus("Left", True, b"\x3b\x00")])
    screen.show_pending([])
    screen.show_pending([PendingCard("01", (PendingWork("A000000001", "EXPIRY", ""),))])
    screen.show_card(DETAILS)
    with screen.working("waiting"):
        pass
    shown = capsys.readouterr().out
    for text in ("no reader", "Left", "3B00", "Nothing is pending", "EXPIRY", "SCP02", "FF/01", "A000000151000000"):
        assert text in shown


def test_readers_pending_work_and_cards_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)
    screen.show_readers([ReaderStatus("Left", True, b"\x3b\x00")])
    screen.show_pending([PendingCard("01", (PendingWork("A000000001", "EXPIRY", ""),))])
    screen.show_card(DETAILS)
    reader, pending, card = read_lines(capsys)
    assert reader["card_present"] is True
    assert pending["aid"] == "A000000001"
    assert (card["kvn"], card["kdd"]) == (255, "00" * 10)


def test_an_error_tells_problem_remedy_and_next_run(capsys: pytest.CaptureFixture[str]) -> None:
    error = TerminalError(TerminalCode.READER_NONE, "There is no reader.", "Plug one in.", server_code="x")
    show_error(error, "It starts afresh.", as_json=False)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "There is no reader. [reader.none]",
        "What to do: Plug one in.",
        "Next run: It starts afresh.",
    ]
    show_error(error, "It starts afresh.", as_json=True)
    assert json.loads(capsys.readouterr().err)["code"] == "reader.none"
