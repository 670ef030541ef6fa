"""Who calls from another platform: the peer of the client certificate.

Rules: peers have addresses of their own, and a certificate is good for one kind of caller: a terminal's is refused
here, a peer's everywhere else. Everything below the prefix asks for a peer, addresses that do not exist among it.
"""

from flask import Flask, g, request

from kms.api.certificates import CertificateSource, read_fingerprint
from kms.api.services import PeerAccess
from kms.errors import Code, KmsError

PREFIX = "/peer/v1"
_REFUSAL = "Connect over TLS with the client certificate that is pinned for your platform"


def is_peer_address(path: str) -> bool:
    """Whether an address belongs to peers."""
    return path.startswith(f"{PREFIX}/")


def require_peer(app: Flask, access: PeerAccess, source: CertificateSource) -> None:
    """Refuse every request to peers' addresses that does not come from a configured peer."""

    @app.before_request
    def authenticate_peer() -> None:
        if is_peer_address(request.path):
            g.peer = _find_peer(access, read_fingerprint(source, request.environ))


def get_peer() -> str:
    """Get the name of the platform that sent this request. Raises `peer.unknown` at other addresses."""
    peer = g.get("peer")
    if not isinstance(peer, str):
        raise KmsError(Code.PEER_UNKNOWN, _REFUSAL)
    return peer


def _find_peer(access: PeerAccess, fingerprint: bytes | None) -> str:
    name = None if fingerprint is None else access.names.get(fingerprint)
    if name is None:
        raise KmsError(Code.PEER_UNKNOWN, _REFUSAL)
    return name
