"""TLS to one peer: 1.3 only, of the configured authority only, and its certificate is the pinned one.

Rules: the pin is checked right after the handshake, before a byte of a request is sent. The authority and the name are
checked too: a pin that was typed wrongly then still lets nobody else in.
"""

import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable
from typing import Any

from kms.config import PeerConfig, read_fingerprint
from kms.errors import Code, Fault, KmsError


class PinMismatchError(ssl.SSLCertVerificationError):
    """The server's certificate is valid, but not the pinned one."""


class PinnedContext(ssl.SSLContext):
    """A client's TLS context that takes one certificate only. `pin`: its SHA-256 fingerprint, 32 bytes."""

    pin: bytes = b""

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:  # noqa: ANN401 (as in ssl)
        """Do the handshake. Raises `PinMismatchError`."""
        connection = super().wrap_socket(sock, *args, **kwargs)
        certificate = connection.getpeercert(binary_form=True)
        if certificate is None or not hmac.compare_digest(hashlib.sha256(certificate).digest(), self.pin):
            connection.close()
            raise PinMismatchError("the certificate is not the pinned one")
        return connection


def build_peer_context(peer: PeerConfig) -> PinnedContext:
    """Build the TLS context for an issuer. Raises `config.invalid` naming the file that cannot be used."""
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.pin = read_fingerprint(peer)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if peer.ca is None or peer.client_certificate is None or peer.client_key is None:
        raise _error(peer, "ca", "A peer that is called needs url, ca, client_certificate and client_key")
    ca, certificate, key = peer.ca, peer.client_certificate, peer.client_key
    _load(peer, "ca", lambda: context.load_verify_locations(cafile=ca))
    _load(peer, "client_certificate", lambda: context.load_cert_chain(certificate, key, _refuse_password))
    return context


def _load(peer: PeerConfig, field: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "the key is encrypted"
        raise _error(peer, field, f"Cannot be used as a certificate or key in PEM: {reason}") from error


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; the platform works unattended, so protect the file by its permissions")


def _error(peer: PeerConfig, field: str, what: str) -> KmsError:
    fault = Fault(f"peers.{peer.name}.{field}", what)
    return KmsError(Code.CONFIG_INVALID, f"The line to {peer.name} cannot be opened: {what}", faults=(fault,))
