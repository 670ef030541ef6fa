"""The client certificate of a request, by which every caller is known.

Rules: it comes from the TLS connection and from nowhere else, never from a header.
"""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Takes the WSGI environment, gives the client's certificate in DER, or None.
CertificateSource = Callable[["WSGIEnvironment"], bytes | None]


def read_client_certificate(environ: "WSGIEnvironment") -> bytes | None:
    """Read the client's certificate from gunicorn's TLS socket."""
    connection: Any = environ.get("gunicorn.socket")
    getpeercert = getattr(connection, "getpeercert", None)
    return getpeercert(binary_form=True) if getpeercert else None


def read_fingerprint(source: CertificateSource, environ: "WSGIEnvironment") -> bytes | None:
    """Read the SHA-256 fingerprint of the client's certificate, 32 bytes."""
    certificate = source(environ)
    return None if certificate is None else hashlib.sha256(certificate).digest()
