import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("show", "xyz"), "not hex"),
        (("show", "AB" * 33), "33 bytes"),
        (("list", "--limit", "0"), "--limit"),
        (("list", "--offset", "-1"), "--offset"),
        (("import", "/nowhere.csv"), "does not exist"),
        (("set-protocols", "AB", "--scp02-i", "5555"), "2 bytes"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("cards", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("cards") == ["import", "list", "quarantine", "release", "repair", "set-protocols", "show"]
