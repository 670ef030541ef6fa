from collections.abc import Callable

import pytest

from kms import wsgi
from kms.config import Config
from tests.fakes.api_platform import FakePart, FakePlatform


class _Vault(FakePart):
    on_hang: Callable[[], None] | None = None

    def watch(self, on_hang: Callable[[], None]) -> None:
        self.on_hang = on_hang


def test_a_worker_has_its_token_watched_and_ends_when_a_call_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = _Vault()
    ended: list[int] = []
    monkeypatch.setattr(wsgi, "open_platform", lambda _config: FakePlatform(vault=vault))
    monkeypatch.setattr("os._exit", ended.append)
    config: Config = Config.__new__(Config)
    assert wsgi.create_app(config).test_client().get("/readyz").status_code == 200
    assert vault.on_hang is not None
    vault.on_hang()
    assert ended == [wsgi.EXIT_HANG]
    assert wsgi.EXIT_HANG not in {3, 4}  # gunicorn takes these for a worker that can never start
