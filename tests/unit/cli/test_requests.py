import pytest
from click.testing import CliRunner

from kms.cli.requests import requests_group
from kms.errors import Code, KmsError
from tests.fakes.command_line import check_wrong_usage, read_help
from tests.fakes.lab_platform import build_lab_invocation


def test_help_names_every_command() -> None:
    assert read_help("requests") == ["approve", "list", "quorum", "reject", "show"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("quorum", "cards.import", "2"), "cards.import"),
        (("quorum", "keys.generate", "0"), "0"),
        (("approve",), "ID"),
        (("approve", "r-1", "--totp", "123456"), "No such option"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("requests", *arguments, what=what)


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_the_development_login_decides_about_nothing(verb: str) -> None:
    result = CliRunner().invoke(requests_group, [verb, "r-1"], obj=build_lab_invocation())
    assert isinstance(result.exception, KmsError)
    assert result.exception.code is Code.LOGIN_NEEDED
