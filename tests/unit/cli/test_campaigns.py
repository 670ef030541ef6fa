from pathlib import Path

import pytest

from kms.cli.campaigns import read_identities
from kms.errors import Code, KmsError
from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("create", "--reason", "forced"), "NAME"),
        (("create", "spring-clean"), "--reason"),
        (("create", "spring-clean", "--reason", "compromise"), "--reason"),
        (("create", "spring-clean", "--reason", "forced", "--per-day", "0"), "--per-day"),
        (("create", "spring-clean", "--reason", "forced", "--max-percent", "101"), "--max-percent"),
        (("create", "spring-clean", "--reason", "forced", "--deadline", "soon"), "--deadline"),
        (("cancel", "spring-clean"), "--because"),
        (("cancel", "spring-clean", "--because", " "), "must not be empty"),
        (("list", "--state", "ASLEEP"), "--state"),
        (("report",), "NAME"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("campaigns", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("campaigns") == ["cancel", "create", "list", "pause", "report", "resume", "show"]


def test_a_list_of_cards_is_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "cards.txt"
    path.write_text("# spring\n4292 0001\n\n42920002 # lost\n42920001\n")
    assert read_identities(path) == (bytes.fromhex("42920001"), bytes.fromhex("42920002"))


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cards.txt"
    path.write_text("4292\nhello\n" + "00" * 33 + "\n")
    with pytest.raises(KmsError) as error:
        read_identities(path)
    assert error.value.code is Code.INPUT_INVALID
    assert [fault.where for fault in error.value.faults] == ["line 2", "line 3"]
    path.write_text("# nobody\n")
    with pytest.raises(KmsError, match="names no card"):
        read_identities(path)
