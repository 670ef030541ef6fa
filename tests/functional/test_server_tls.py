"""The server at its door: real gunicorn, real TLS, real certificates; services simulated."""

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kms.pki import init_pki, issue_terminal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Served:
    folder: Path
    port: int
    process: subprocess.Popen[str]

    def context(self, name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """A client that trusts our authority and shows the certificate `name`."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.maximum_version = version
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def connect(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, context=context, timeout=10)


def _get(connection: http.client.HTTPSConnection, path: str) -> tuple[int, str, dict[str, object]]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.headers.get_content_type(), json.loads(answer.read())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    now = datetime.now(UTC)
    init_pki(folder, ("localhost", "127.0.0.1"), now)
    fingerprint = issue_terminal(folder, "terminal-1", now).fingerprint
    issue_terminal(folder, "stranger", now)
    foreign = folder / "foreign"
    init_pki(foreign, ("localhost",), now)
    issue_terminal(foreign, "terminal-1", now)
    command = [sys.executable, "-m", "tests.fakes.api_server", str(folder), fingerprint.hex()]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready https://127.0.0.1:"), (folder / "log").read_text()
        yield Served(folder, int(line.rsplit(":", 1)[1]), process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_an_enrolled_terminal_is_served_over_tls_1_3_and_keeps_its_connection(served: Served) -> None:
    connection = served.connect(served.context("terminal-1"))
    status, kind, body = _get(connection, "/api/v1/pending")
    assert (status, kind) == (200, "application/json")
    assert body["next"] is None
    first = connection.sock
    assert isinstance(first, ssl.SSLSocket)
    assert first.version() == "TLSv1.3"
    assert _get(connection, "/readyz")[0] == 200
    assert connection.sock is first
    connection.close()


def test_a_certificate_that_is_not_enrolled_gets_a_problem_document(served: Served) -> None:
    connection = served.connect(served.context("stranger"))
    status, kind, body = _get(connection, "/api/v1/pending")
    connection.close()
    assert (status, kind, body["code"]) == (403, "application/problem+json", "terminal.unknown")


@pytest.mark.parametrize("name", [None, "server", "foreign/terminal-1"])
def test_without_a_client_certificate_of_the_authority_tls_refuses(served: Served, name: str | None) -> None:
    connection = served.connect(served.context(name))
    # TLS 1.3: the client learns that its certificate was refused with the first read.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _get(connection, "/healthz")
    connection.close()


def test_tls_1_2_is_refused(served: Served) -> None:
    connection = served.connect(served.context("terminal-1", ssl.TLSVersion.TLSv1_2))
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        _get(connection, "/healthz")


def test_plain_http_is_not_answered(served: Served) -> None:
    connection = http.client.HTTPConnection("localhost", served.port, timeout=10)
    connection.request("GET", "/healthz")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def test_clients_that_stall_in_the_handshake_do_not_stop_the_server(served: Served) -> None:
    stalled = [socket.create_connection(("localhost", served.port)) for _ in range(5)]
    for connection in stalled:
        connection.sendall(b"\x16")  # the first byte of a ClientHello: gunicorn now gives it a thread
    time.sleep(0.2)
    terminal = served.connect(served.context("terminal-1"))
    terminal.timeout = 60
    assert _get(terminal, "/healthz")[0] == 200
    terminal.close()
    for connection in stalled:
        connection.close()


def test_only_workers_build_the_application(served: Served) -> None:
    masters = {path.name.split("-")[1] for path in served.folder.glob("master-*")}
    workers = {path.name.split("-")[1] for path in served.folder.glob("worker-*")}
    assert len(masters) == 1
    assert len(workers) == 2
    assert not masters & workers


def test_every_log_line_is_json_and_names_the_terminal(served: Served) -> None:
    connection = served.connect(served.context("terminal-1"))
    _get(connection, "/api/v1/pending?card=4701")
    connection.close()
    lines = [json.loads(line) for line in (served.folder / "log").read_text().splitlines()]
    requests = [line for line in lines if line["message"] == "request" and line["route"] == "/api/v1/pending"]
    assert requests[-1]["terminal"] == "terminal-1"
    assert "4701" not in json.dumps(requests)
