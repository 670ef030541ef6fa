import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


def test_help_names_every_command() -> None:
    assert read_help("people") == [
        "add",
        "add-account",
        "change",
        "confirm",
        "disable",
        "enable",
        "invite",
        "list",
        "reset",
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("add", "carol"), "--name"),
        (("add", "carol", "--name", "Carol", "--role", "king"), "king"),
        (("change", "carol"), "--name, --role"),
        (("confirm", "carol"), "CODE"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("people", *arguments, what=what)
