from collections.abc import Callable

import pytest
from click.testing import CliRunner

from kms.cli.console import console_command
from kms.config import ConsoleConfig
from kms.errors import Code, Fault, KmsError


class _Config:
    console = ConsoleConfig()


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kms.cli.console.get_config", lambda _ctx: _Config)


def test_what_is_missing_stops_it_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_config: object) -> None:
        raise KmsError(Code.NOT_READY, "not yet", faults=(Fault("console.certificate", "is not there"),))

    monkeypatch.setattr("kms.cli.preflight.check_ready_for_console", check)
    monkeypatch.setattr("kms.serve.serve_console", lambda *_arguments: pytest.fail("it served"))
    error = CliRunner().invoke(console_command).exception
    assert isinstance(error, KmsError)
    assert error.code is Code.NOT_READY


def test_the_ready_line_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(console: object, _create_app: object, announce: Callable[[str], None]) -> None:
        assert console == _Config.console
        announce("https://127.0.0.1:8444")

    monkeypatch.setattr("kms.cli.preflight.check_ready_for_console", lambda _config: None)
    monkeypatch.setattr("kms.serve.serve_console", serve)
    assert CliRunner().invoke(console_command).stdout == "ready https://127.0.0.1:8444\n"
