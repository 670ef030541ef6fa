"""The API's server: gunicorn over TLS 1.3 with client certificates. The only module that knows gunicorn.

Rules: the master process opens neither database nor HSM (a PKCS#11 library must not be loaded before the fork); each
worker builds its own application. Every connection shows a client certificate of the configured authority.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from kms.config import ServerConfig
from kms.metrics.processes import forget_process, share_metrics
from kms.web.logs import JsonFormatter, configure_logs

KEEP_ALIVE_SECONDS = 30  # longer than a card takes for one batch: a visit stays on one connection
GRACEFUL_SECONDS = 30
HANDSHAKE_SECONDS = 5


class HandshakeContext(ssl.SSLContext):
    """A TLS context that gives a client a limited time for its handshake.

    gunicorn makes the socket blocking before the handshake: a client without any certificate could hold a thread for
    ever by sending one byte. The limit also covers the first request; gunicorn lifts it for the next ones.
    """

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:  # noqa: ANN401 (as in ssl)
        """Wrap an accepted socket."""
        sock.settimeout(HANDSHAKE_SECONDS)
        return super().wrap_socket(sock, *args, **kwargs)


def build_tls_context(server: ServerConfig) -> ssl.SSLContext:
    """Build the listener's TLS context. Raises `OSError` (`ssl.SSLError` among them) when a file is not usable."""
    context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(server.certificate, server.private_key)
    # Only the configured authority: the system's certificate store plays no part.
    context.load_verify_locations(server.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.num_tickets = 0  # no resumption: every connection proves the client's key anew
    return context


class _JsonLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's own log lines in the one format of ours."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 (gunicorn ships no types)
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn with its settings given here and nowhere else."""

    def __init__(
        self,
        server: ServerConfig,
        create_app: Callable[[], Flask],
        announce: Callable[[str], None],
        *,
        shares_metrics: bool,
    ) -> None:
        self._server = server
        self._shares_metrics = shares_metrics
        self._create_app = create_app
        self._announce = announce
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings (called by gunicorn)."""
        server = self._server
        context = build_tls_context(server)
        settings: dict[str, Any] = {
            "bind": f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}",
            "workers": server.workers,
            "threads": server.threads,
            "worker_class": "gthread",
            "preload_app": False,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": GRACEFUL_SECONDS,
            "certfile": str(server.certificate),
            "keyfile": str(server.private_key),
            "ca_certs": str(server.client_ca),
            "cert_reqs": int(ssl.CERT_REQUIRED),
            "ssl_context": lambda _conf, _default: context,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",  # no proxy stands before us: believe no header about the client
            "accesslog": None,  # the API writes its own lines, without addresses as sent
            "logger_class": _JsonLogger,
            "post_worker_init": self._tell_ready,
            "child_exit": self._forget_worker,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the application (called by gunicorn in each worker, after the fork)."""
        return self._create_app()

    def _forget_worker(self, _arbiter: Any, worker: Any) -> None:  # noqa: ANN401 (gunicorn ships no types)
        if self._shares_metrics:
            forget_process(worker.pid)

    def _tell_ready(self, worker: Any) -> None:  # noqa: ANN401 (gunicorn ships no types)
        if worker.age == 1:  # the first of the workers; a later one only adds to what already answers
            host, port = worker.sockets[0].getsockname()[:2]
            self._announce(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")


def serve(
    server: ServerConfig,
    create_app: Callable[[], Flask],
    announce: Callable[[str], None],
    *,
    shares_metrics: bool = False,
) -> None:
    """Serve until a signal ends it. `announce` gets the address once the first worker can answer.

    `shares_metrics`: the workers count together.
    """
    configure_logs()
    with share_metrics() if shares_metrics else nullcontext():
        _Server(server, create_app, announce, shares_metrics=shares_metrics).run()
