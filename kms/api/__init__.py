"""The API: the entry for terminals and peer platforms, and health.

Rules: a caller is a client certificate that is enrolled as a terminal or pinned for a peer, or it is refused. Requests
are parsed strictly once, answers of trouble are RFC 9457 problem documents with a stable code, and no body is ever
logged.
"""

from kms.api.app import create_api

__all__ = ["create_api"]
