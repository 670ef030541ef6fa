"""The servers: gunicorn over TLS 1.3. The only module that knows gunicorn.

Rules: the master process opens neither database nor HSM (a PKCS#11 library must not be loaded before the fork); each
worker builds its own application. At the API every connection shows a client certificate of the configured authority;
the console asks for none, and speaks plain HTTP only where it has no certificate, which the configuration allows on
this machine alone.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from kms.config import ConsoleConfig, ServerConfig
from kms.metrics.processes import forget_process, share_metrics
from kms.web.logs import JsonFormatter, configure_logs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

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


def build_console_context(console: ConsoleConfig) -> ssl.SSLContext | None:
    """Build the console's TLS context; None for plain HTTP. Raises as `build_tls_context`."""
    if console.certificate is None or console.private_key is None:
        return None
    context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(console.certificate, console.private_key)
    return context


@dataclass(frozen=True)
class Listener:
    """Where a server listens, and with how many processes and threads. `tls`: gunicorn's settings of it."""

    host: str
    port: int
    workers: int
    threads: int
    tls: Mapping[str, object]

    @property
    def scheme(self) -> str:
        """How addresses begin."""
        return "https" if self.tls else "http"


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
        listener: Listener,
        create_app: "Callable[[], WSGIApplication]",
        announce: Callable[[str], None],
        *,
        shares_metrics: bool,
    ) -> None:
        self._listener = listener
        self._shares_metrics = shares_metrics
        self._create_app = create_app
        self._announce = announce
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings (called by gunicorn)."""
        listener = self._listener
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        settings: dict[str, Any] = {
            "bind": f"{host}:{listener.port}",
            "workers": listener.workers,
            "threads": listener.threads,
            "worker_class": "gthread",
            "preload_app": False,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": GRACEFUL_SECONDS,
            **listener.tls,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",  # no proxy stands before us: believe no header about the client
            "accesslog": None,  # the API writes its own lines, without addresses as sent
            "logger_class": _JsonLogger,
            "post_worker_init": self._tell_ready,
            "child_exit": self._forget_worker,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> "WSGIApplication":
        """Build the application (called by gunicorn in each worker, after the fork)."""
        return self._create_app()

    def _forget_worker(self, _arbiter: Any, worker: Any) -> None:  # noqa: ANN401 (gunicorn ships no types)
        if self._shares_metrics:
            forget_process(worker.pid)

    def _tell_ready(self, worker: Any) -> None:  # noqa: ANN401 (gunicorn ships no types)
        if worker.age == 1:  # the first of the workers; a later one only adds to what already answers
            host, port = worker.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"{self._listener.scheme}://{shown}:{port}")


def serve(
    server: ServerConfig,
    create_app: "Callable[[], WSGIApplication]",
    announce: Callable[[str], None],
    *,
    shares_metrics: bool = False,
) -> None:
    """Serve the API until a signal ends it. `announce` gets the address once the first worker can answer.

    `shares_metrics`: the workers count together.
    """
    context = build_tls_context(server)
    tls = {
        "certfile": str(server.certificate),
        "keyfile": str(server.private_key),
        "ca_certs": str(server.client_ca),
        "cert_reqs": int(ssl.CERT_REQUIRED),
        "ssl_context": lambda _conf, _default: context,
    }
    listener = Listener(server.host, server.port, server.workers, server.threads, tls)
    configure_logs()
    with share_metrics() if shares_metrics else nullcontext():
        _Server(listener, create_app, announce, shares_metrics=shares_metrics).run()


def serve_console(
    console: ConsoleConfig, create_app: "Callable[[], WSGIApplication]", announce: Callable[[str], None]
) -> None:
    """Serve the console until a signal ends it. `announce`: as for `serve`."""
    context = build_console_context(console)
    tls: dict[str, object] = {}
    if context is not None:
        tls = {
            "certfile": str(console.certificate),
            "keyfile": str(console.private_key),
            "ssl_context": lambda _conf, _default: context,
        }
    listener = Listener(console.host, console.port, console.workers, console.threads, tls)
    configure_logs()
    _Server(listener, create_app, announce, shares_metrics=False).run()
