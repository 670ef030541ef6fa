from collections.abc import Callable

import pytest

from kms import wsgi
from kms.config import Config, MetricsConfig
from kms.errors import Code, KmsError
from tests.fakes.api_platform import FakePart, FakePlatform


class _Vault(FakePart):
    on_hang: Callable[[], None] | None = None

    def watch(self, on_hang: Callable[[], None]) -> None:
        self.on_hang = on_hang


class _Store(FakePart):
    is_watched = False

    def watch(self) -> None:
        self.is_watched = True


def test_a_worker_has_its_token_and_database_watched_and_ends_when_a_call_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault, store = _Vault(), _Store()
    ended: list[int] = []
    monkeypatch.setattr(wsgi, "open_platform", lambda _config: FakePlatform(vault=vault, store=store))
    monkeypatch.setattr("os._exit", ended.append)
    config: Config = Config.__new__(Config)
    object.__setattr__(config, "metrics", MetricsConfig())
    assert wsgi.create_app(config).test_client().get("/readyz").status_code == 200
    assert store.is_watched
    assert vault.on_hang is not None
    vault.on_hang()
    assert ended == [wsgi.EXIT_HANG]
    assert wsgi.EXIT_HANG not in {3, 4}  # gunicorn takes these for a worker that can never start


def test_the_databases_anchor_is_kept_and_a_database_that_is_away_is_tried_again_soon() -> None:
    waits: list[float] = []

    def keep() -> None:
        if not waits:
            raise KmsError(Code.DATABASE_UNAVAILABLE, "away")

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wsgi.keep_on_record(keep, wait)
    assert waits == [wsgi.ANCHOR_RETRY_SECONDS, wsgi.ANCHOR_SECONDS]
