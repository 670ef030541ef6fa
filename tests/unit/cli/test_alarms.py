import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("show",), "ID"),
        (("acknowledge",), "ID"),
        (("list", "--limit", "many"), "--limit"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("alarms", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("alarms") == ["acknowledge", "list", "show"]
