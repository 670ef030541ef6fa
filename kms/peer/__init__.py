"""The leased line's client: how an application provider's platform reaches an issuer's.

Rules: nobody is spoken to but the platform whose certificate is pinned, and nothing is sent before that is sure. What
it answers is untrusted: size, form and text are checked. Bodies never show in errors or logs.
"""

from kms.peer.client import PeerClient
from kms.peer.pinned_tls import build_peer_context

__all__ = ["PeerClient", "build_peer_context"]
