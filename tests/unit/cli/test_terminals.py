import pytest

from tests.fakes.command_line import check_wrong_usage, read_help


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("enrol",), "--name"),
        (("enrol", "--name", "x"), "either --certificate or --fingerprint"),
        (("enrol", "--name", "x", "--fingerprint", "AB"), "1 bytes"),
        (("suspend", "x"), "--reason"),
        (("revoke", "x"), "--reason"),
        (("suspend", "x", "--reason", " "), "must not be empty"),
        (("revoke", "x", "--reason", ""), "must not be empty"),
        (("resume",), "NAME"),
        (("limit", "x"), "--all to lift"),
        (("limit", "x", "--all", "--ssd", "A000000001"), "--all to lift"),
        (("limit", "x", "--cards", "02-01"), "one length"),
        (("limit", "x", "--cards", "zz"), "not hex"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("terminals", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("terminals") == ["enrol", "limit", "list", "resume", "revoke", "suspend"]
