"""The listener that Prometheus asks: one address a machine, whichever of several processes has it.

Rules: it is no part of the API: another port, no TLS, no client certificates, nothing but `/metrics`, so it belongs on
a loopback address. Of several processes the first to bind it serves for all; when that one ends another takes its
place.
"""

import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RETRY_S = 2.0
PATH = "/metrics"


class _Server(ThreadingMixIn, WSGIServer):
    """A request hangs nobody but itself."""

    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5  # seconds for a caller that says nothing

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is wsgiref's
        """Say nothing of each request."""


class MetricsListener:
    """Serves a registry at `http://HOST:PORT/metrics`, as soon as the address is free."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._stopping = threading.Event()
        self._server: WSGIServer | None = None
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to try and serve."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()
        self._thread.join(timeout=RETRY_S)

    def _run(self) -> None:
        server_class = _ServerV6 if ":" in self._host else _Server
        while not self._stopping.is_set():
            try:
                server = make_server(self._host, self._port, self._answer, server_class, _Handler)
            except OSError:  # another process has it
                self._stopping.wait(RETRY_S)
                continue
            with server:
                self._server = server
                if not self._stopping.is_set():
                    server.serve_forever(poll_interval=0.5)

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "GET":
            start_response(f"{HTTPStatus.NOT_FOUND.value} Not Found", [("Content-Type", "text/plain")])
            return [b"Ask for /metrics.\n"]
        body = generate_latest(self._registry)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [body]
