import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("downgrade",), "No such command"),
        (("upgrade", "extra"), "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("db", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("db") == ["check", "current", "upgrade"]
