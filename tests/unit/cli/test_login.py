from pathlib import Path

from click.testing import CliRunner

from kms.cli.login import whoami_command
from kms.config import PlatformMode
from kms.errors import Code, KmsError
from tests.fakes.command_line import check_wrong_usage
from tests.fakes.lab_platform import build_lab_invocation


def test_a_password_is_nothing_for_the_command_line() -> None:
    check_wrong_usage("login", "alice", "--password", "secret", what="No such option")
    check_wrong_usage("login", what="LOGIN")


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    from kms.cli.login import login_command  # noqa: PLC0415 - beside its use

    path = tmp_path / "password"
    path.write_text("seven brown horses")
    path.chmod(0o644)
    invocation = build_lab_invocation()
    invocation.server = "https://console.example"
    result = CliRunner().invoke(login_command, ["alice", "--password-file", str(path)], obj=invocation)
    assert isinstance(result.exception, KmsError)
    assert "chmod 0600" in result.exception.detail


def test_in_the_lab_it_says_that_nobody_is_logged_in() -> None:
    result = CliRunner().invoke(whoami_command, [], obj=build_lab_invocation())
    assert "development login" in result.stdout


def test_in_production_it_asks_for_a_login() -> None:
    result = CliRunner().invoke(whoami_command, [], obj=build_lab_invocation(mode=PlatformMode.PRODUCTION))
    assert isinstance(result.exception, KmsError)
    assert result.exception.code is Code.LOGIN_NEEDED
