import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("show",), "ID"),
        (("list", "--card", "no hex"), "--card"),
        (("list", "--limit", "many"), "--limit"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("transfers", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("transfers") == ["list", "show"]
