"""Takes one key component over HTTPS, in a process of its own that ends with it.

Rules: the console's pages send the form with the component to this process and nowhere else, so that the long-lived
console never has it (docs/adr/0117). The form carries a ticket that was made for it; wrong ones end the process after a
few tries, and so does time. Nothing but one POST is answered, and nothing is logged.
"""

import hmac
import http.server
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

MAX_BODY = 4096  # bytes
MAX_TRIES = 5
SECONDS = 300
READ_SECONDS = 10


@dataclass(frozen=True)
class Entry:
    """What the process was started for. `ticket`: that the form carries. `origin`: of the console, to go back to.

    `take`: takes the component's text; what to show of it (its number, check value and method), or raises ValueError
    with words that may be shown.
    """

    ticket: str
    origin: str
    back: str
    take: Callable[[str], str]


class EntryListener:
    """Listens for one component. `port`: 0 for any free one.

    `files`: certificate and key; None: plain HTTP, as the console speaks on `localhost` without them.
    """

    def __init__(self, entry: Entry, host: str, port: int, files: tuple[Path, Path] | None) -> None:
        self._done = False
        self._tries = 0
        self._entry = entry
        self._server = http.server.HTTPServer((host, port), self._build_handler())
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(*files)
            # The handshake comes with the first reading, where the time for it is bounded.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.timeout = READ_SECONDS

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def serve(self) -> bool:
        """Answer until a component was taken, too many tickets were wrong or the time is over; whether one was."""
        end = time.monotonic() + SECONDS
        with self._server:
            while not self._done and self._tries < MAX_TRIES and time.monotonic() < end:
                self._server.handle_request()
        return self._done

    def _build_handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = READ_SECONDS
            server_version = "kms"
            sys_version = ""

            def do_POST(self) -> None:
                status, text = listener.take(self)
                page = listener.build_page(text).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Say nothing: what is not written cannot leak."""

        return Handler

    def take(self, request: http.server.BaseHTTPRequestHandler) -> tuple[HTTPStatus, str]:
        """Check the request and take the component; the status and what to show."""
        length = request.headers.get("Content-Length", "")
        origin = request.headers.get("Origin", self._entry.origin)
        if not length.isdigit() or int(length) > MAX_BODY or origin != self._entry.origin:
            self._tries += 1
            return HTTPStatus.BAD_REQUEST, "That was no component from the console's form."
        form = parse_qs(request.rfile.read(int(length)).decode("ascii", "replace"))
        if not hmac.compare_digest(form.get("ticket", [""])[0].encode(), self._entry.ticket.encode()):
            self._tries += 1
            return HTTPStatus.FORBIDDEN, "The form is out of date: go back and open it again."
        try:
            shown = self._entry.take(form.get("component", [""])[0])
        except ValueError as error:
            self._tries += 1
            return HTTPStatus.UNPROCESSABLE_ENTITY, str(error)
        self._done = True
        return HTTPStatus.OK, shown

    def build_page(self, text: str) -> str:
        """The one page: what is to be said, and the way back."""
        return (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Key component</title></head><body>"
            f"<main><h1>Key component</h1><p role='status'>{escape(text)}</p>"
            f"<p><a href='{escape(self._entry.back, quote=True)}'>Back to the ceremony</a></p></main></body></html>"
        )


def say_port(port: int) -> None:
    """Tell the process that started this one where to send the form."""
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
