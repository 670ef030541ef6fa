"""Bare mTLS requests with the SQL of rotations: what the server would cost without itself.

The same gunicorn, TLS context and worker class as `kms serve`; a request runs the statements that were recorded of the
one of the same number, as they stand, on a copy of the database, through the driver alone. Run as `python -m
bench.bare_server CONFIG RECORD DATABASE PORT`.
"""

import sqlite3
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from bench.recorded_server import BEGIN, COMMIT, REQUEST, STATEMENT, Recorded, read_recorded
from kms.config import load_config
from kms.db.engine import PRAGMAS
from kms.serve import KEEP_ALIVE_SECONDS, build_tls_context


def split_requests(recorded: Iterable[Recorded]) -> list[list[Recorded]]:
    """What each request did, in order."""
    requests: list[list[Recorded]] = []
    for item in recorded:
        if item.kind == REQUEST:
            requests.append([])
        elif requests:
            requests[-1].append(item)
    return requests


class Replay:
    """The statements of one request after another."""

    def __init__(self, requests: Sequence[Sequence[Recorded]], database: Path) -> None:
        self._requests = iter(requests)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        for pragma in PRAGMAS:
            self._connection.execute(pragma)

    def run(self) -> None:
        """Run the next request's."""
        with self._lock:
            for item in next(self._requests):
                match item.kind:
                    case k if k == BEGIN:
                        self._connection.execute(item.text)
                    case k if k == COMMIT:
                        self._connection.commit()
                    case k if k == STATEMENT and item.many:
                        self._connection.executemany(item.text, item.parameters)
                    case _:
                        self._connection.execute(item.text, item.parameters).fetchall()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


class _Server(BaseApplication):  # type: ignore[misc] # gunicorn ships no types
    def __init__(self, context: ssl.SSLContext, settings: dict[str, Any], load: Callable[[], Replay]) -> None:
        self._context = context
        self._settings = settings
        self._load = load
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings (called by gunicorn)."""
        settings = {
            "workers": 1,
            "threads": 8,
            "worker_class": "gthread",
            "keepalive": KEEP_ALIVE_SECONDS,
            "ssl_context": lambda _conf, _default: self._context,
            "control_socket_disable": True,
            "accesslog": None,
            "post_worker_init": lambda _worker: print("ready", flush=True),
            **self._settings,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Iterable[bytes]]:
        """Build the application (called by gunicorn in each worker)."""
        replay = self._load()

        def answer(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
            environ["wsgi.input"].read()
            replay.run()
            body = b'{"done": true}'
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]

        return answer


def main() -> None:
    """Serve until killed."""
    config_file, record, database, port = sys.argv[1:]
    server = load_config(Path(config_file)).server
    files = {
        "bind": f"127.0.0.1:{port}",
        "certfile": str(server.certificate),
        "keyfile": str(server.private_key),
        "ca_certs": str(server.client_ca),
        "cert_reqs": int(ssl.CERT_REQUIRED),
    }
    requests = split_requests(read_recorded(Path(record)))
    _Server(build_tls_context(server), files, lambda: Replay(requests, Path(database))).run()


if __name__ == "__main__":
    main()
