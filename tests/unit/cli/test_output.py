import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from kms.cli.output import Row, build_record, format_value, print_json, print_record, print_rows, show_progress
from kms.domain.keys import KeyState

NOON_IN_PARIS = datetime(2026, 11, 23, 13, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))


@dataclass(frozen=True)
class Thing:
    name: str
    digest: bytes
    hidden: bytes = field(default=b"secret", repr=False)


def test_a_record_leaves_out_what_is_nobodys_to_read() -> None:
    assert build_record(Thing("a", b"\x01"), more=1) == {"name": "a", "digest": b"\x01", "more": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (b"", "-"),
        ((), "-"),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (b"\xab\x01", "AB01"),
        ((b"\x01", b"\x02"), "01 02"),
        (NOON_IN_PARIS, "2026-11-23T12:00:00Z"),
        (KeyState.ACTIVE, "ACTIVE"),
    ],
)
def test_values_as_people_read_them(value: object, text: str) -> None:
    assert format_value(value) == text


def test_json_holds_everything_programs_need(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"at": NOON_IN_PARIS, "things": [Thing("ä", b"\x01")], "none": None, "state": KeyState.ACTIVE})
    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-11-23T12:00:00Z",
        "things": [{"name": "ä", "digest": "01"}],
        "none": None,
        "state": "ACTIVE",
    }


def test_a_table_has_its_columns_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Row] = [{"name": "x" * 100, "at": NOON_IN_PARIS, "other": "not shown"}, {"name": "[red]b[/red]"}]
    print_rows(rows, ("name", "at"), as_json=False, title="Things")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Things"
    assert lines[1].split() == ["name", "at"]
    assert lines[2].split() == ["x" * 100, "2026-11-23T12:00:00Z"]
    assert lines[3].split() == ["[red]b[/red]", "-"]  # data is never taken for markup
    assert "not shown" not in "".join(lines)


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], ("name",), as_json=False, title="Things")
    assert capsys.readouterr().out == "Things: none.\n"
    print_rows([], ("name",), as_json=True, title="Things")
    assert json.loads(capsys.readouterr().out) == []


def test_a_record_a_field_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"first_name": "a", "kdd": b"\x01"}, as_json=False, title="Thing")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Thing"],
        ["first", "name", "a"],
        ["kdd", "01"],
    ]
    print_record({"first_name": "a"}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"first_name": "a"}


@pytest.mark.parametrize("as_json", [True, False])
def test_progress_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    with show_progress("Working", as_json=as_json) as progress:
        progress(1, 2)
    assert capsys.readouterr().out == ""
