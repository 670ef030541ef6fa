"""Who calls: the terminal of the client certificate.

Rules: the certificate comes from the TLS connection and from nowhere else, never from a header. Every address asks for
an enrolled terminal unless it is on the short list of open ones.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, g, request

from kms.api.services import TerminalService
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Takes the WSGI environment, gives the client's certificate in DER, or None.
CertificateSource = Callable[["WSGIEnvironment"], bytes | None]

OPEN_ENDPOINTS = frozenset({"health.alive", "health.ready", "openapi.spec"})


def read_peer_certificate(environ: "WSGIEnvironment") -> bytes | None:
    """Read the client's certificate from gunicorn's TLS socket."""
    connection: Any = environ.get("gunicorn.socket")
    getpeercert = getattr(connection, "getpeercert", None)
    return getpeercert(binary_form=True) if getpeercert else None


def require_terminal(app: Flask, terminals: TerminalService, source: CertificateSource) -> None:
    """Refuse every request to `app` that does not come from an enrolled terminal."""

    @app.before_request
    def authenticate() -> None:
        if request.endpoint in OPEN_ENDPOINTS:
            return
        certificate = source(request.environ)
        if certificate is None:
            raise KmsError(
                Code.TERMINAL_UNKNOWN, "Connect over TLS with the client certificate of an enrolled terminal"
            )
        g.terminal = terminals.authenticate(hashlib.sha256(certificate).digest())


def get_terminal() -> Terminal:
    """Get the terminal that sent this request. Raises `terminal.unknown` at an open address."""
    terminal = g.get("terminal")
    if not isinstance(terminal, Terminal):
        raise KmsError(Code.TERMINAL_UNKNOWN, "Connect over TLS with the client certificate of an enrolled terminal")
    return terminal
