import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("force",), "--card"),
        (("force", "--card", "4292"), "either --aid or --all-ssds"),
        (("force", "--card", "4292", "--all-ssds", "--reason", "initial"), "--reason"),
        (("show",), "ID"),
        (("cancel", "1"), "--because"),
        (("allow", "1"), "--because"),
        (("list", "--state", "ASLEEP"), "--state"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("updates", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("updates") == ["allow", "cancel", "force", "list", "show"]
