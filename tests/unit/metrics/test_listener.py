import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from kms.metrics.exporter import build_exporter
from kms.metrics.listener import MetricsListener

PATIENCE_S = 15


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(port: int, path: str = "/metrics") -> str:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < give_up
            time.sleep(0.02)


def build_listener(port: int) -> MetricsListener:
    return MetricsListener("127.0.0.1", port, build_exporter(lambda: None).registry)


@pytest.fixture
def port() -> Iterator[int]:
    port = find_free_port()
    listener = build_listener(port)
    listener.start()
    yield port
    listener.stop()


def test_metrics_are_served(port: int) -> None:
    assert "kms_database_up 0.0" in fetch(port)


def test_nothing_else_is(port: int) -> None:
    fetch(port)
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(port, "/readyz")
    assert error.value.code == 404
    error.value.close()


def test_when_the_process_that_serves_ends_another_takes_its_place() -> None:
    port = find_free_port()
    first, second = build_listener(port), build_listener(port)
    first.start()
    assert fetch(port)
    second.start()
    first.stop()
    assert "kms_database_up" in fetch(port)
    second.stop()
