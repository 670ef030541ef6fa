"""Who calls: the terminal of the client certificate.

Rules: every address asks for an enrolled terminal unless it is on the short list of open ones or belongs to peers.
"""

from flask import Flask, g, request

from kms.api.certificates import CertificateSource, read_fingerprint
from kms.api.peer_callers import is_peer_address
from kms.api.services import PeerAccess, TerminalService
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError

OPEN_ENDPOINTS = frozenset({"health.alive", "health.ready", "openapi.spec"})


def require_terminal(
    app: Flask, terminals: TerminalService, source: CertificateSource, peer_access: PeerAccess | None = None
) -> None:
    """Refuse every request to `app` that does not come from an enrolled terminal; peers' own addresses ask for peers.

    A certificate that is a peer's is refused even where somebody enrolled it as a terminal, too.
    """
    peers = peer_access.names if peer_access else {}

    @app.before_request
    def authenticate() -> None:
        if request.endpoint in OPEN_ENDPOINTS or (peer_access and is_peer_address(request.path)):
            return
        fingerprint = read_fingerprint(source, request.environ)
        if fingerprint is None or fingerprint in peers:
            raise _refusal()
        g.terminal = terminals.authenticate(fingerprint)


def get_terminal() -> Terminal:
    """Get the terminal that sent this request. Raises `terminal.unknown` at other addresses."""
    terminal = g.get("terminal")
    if not isinstance(terminal, Terminal):
        raise _refusal()
    return terminal


def _refusal() -> KmsError:
    return KmsError(Code.TERMINAL_UNKNOWN, "Connect over TLS with the client certificate of an enrolled terminal")
