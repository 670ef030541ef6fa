from collections.abc import Callable

import pytest
from click.testing import CliRunner
from flask import Flask

from kms.cli.serve import serve_command
from kms.config import MetricsConfig
from kms.errors import Code, Fault, KmsError


class _Config:
    server = "the server's settings"
    metrics = MetricsConfig(port=9464)


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kms.cli.serve.get_config", lambda _ctx: _Config)


def test_what_is_missing_stops_it_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_config: object) -> None:
        raise KmsError(Code.NOT_READY, "not yet", faults=(Fault("server.certificate", "is not there"),))

    monkeypatch.setattr("kms.cli.preflight.check_ready_to_serve", check)
    monkeypatch.setattr("kms.serve.serve", lambda *_arguments: pytest.fail("it served"))
    error = CliRunner().invoke(serve_command).exception
    assert isinstance(error, KmsError)
    assert error.code is Code.NOT_READY


def test_the_ready_line_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(
        server: object, _create_app: Callable[[], Flask], announce: Callable[[str], None], *, shares_metrics: bool
    ) -> None:
        assert server == _Config.server
        assert shares_metrics
        announce("https://127.0.0.1:8443")

    monkeypatch.setattr("kms.cli.preflight.check_ready_to_serve", lambda _config: None)
    monkeypatch.setattr("kms.serve.serve", serve)
    assert CliRunner().invoke(serve_command).stdout == "ready https://127.0.0.1:8443\n"
