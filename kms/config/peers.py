"""The other platforms: who they are, how they are reached, and what they may ask for.

Rules: a peer is known by the SHA-256 fingerprint of its TLS certificate, given as such or as the certificate's own
file, which is read when the fingerprint is needed. Rules that join fields stand in `kms.config.peer_checks`.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import Field
from pydantic.dataclasses import dataclass

from kms.config.schema import STRICT, Aid, PlatformName, Privileges, ResolvedPath
from kms.errors import Code, Fault, KmsError

_URL = r"^https://[A-Za-z0-9.\-\[\]:]+$"  # a host and perhaps a port: the paths are the protocol's


class PeerRole(StrEnum):
    """What the other platform is to us: the issuer that we call, or a provider that calls us."""

    ISSUER = "issuer"
    PROVIDER = "provider"


@dataclass(frozen=True, config=STRICT)
class PeerConfig:
    """Another platform. Exactly one of `certificate_fingerprint` (32 bytes) and `certificate` (PEM file) pins it.

    An issuer: `url`; `ca`, trusted for its certificate; `client_certificate` and `client_key`, which we show it. A
    provider: `allowed_aids`, prefixes of the SSDs it may ask for; `allowed_privileges`, of those SSDs; whether on cards
    whose challenge names no security domain, too (docs/adr/0068); its quotas, and for how long a hand-over is valid.
    """

    name: PlatformName
    role: PeerRole
    certificate_fingerprint: Annotated[bytes, Field(min_length=32, max_length=32)] | None = None
    certificate: ResolvedPath | None = None
    url: Annotated[str, Field(pattern=_URL)] | None = None
    ca: ResolvedPath | None = None
    client_certificate: ResolvedPath | None = None
    client_key: ResolvedPath | None = None
    # A prefix is a whole RID at least: nobody may ask for everybody's domains.
    allowed_aids: tuple[Aid, ...] = ()
    allowed_privileges: tuple[Privileges, ...] = ()
    allow_unbound_cards: bool = False
    max_open_transfers: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    max_transfers_per_day: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    hand_over_valid_minutes: Annotated[int, Field(ge=1, le=1440)] = 60

    @property
    def hand_over_validity(self) -> timedelta:
        """For how long a hand-over to this peer is valid."""
        return timedelta(minutes=self.hand_over_valid_minutes)


@dataclass(frozen=True, config=STRICT)
class CardRangeEntry:
    """Card identities of one length from `from` to `to`, both inside, and the peer that issued them."""

    first: Annotated[bytes, Field(min_length=1, max_length=32, alias="from")]
    last: Annotated[bytes, Field(min_length=1, max_length=32, alias="to")]
    issuer: PlatformName


def read_fingerprint(peer: PeerConfig) -> bytes:
    """Read the SHA-256 fingerprint that a peer is known by. Raises `config.invalid` when its file is no certificate."""
    if peer.certificate_fingerprint is not None:
        return peer.certificate_fingerprint
    if peer.certificate is None:
        raise _error(peer, "Give exactly one of certificate_fingerprint and certificate")
    try:
        return x509.load_pem_x509_certificate(peer.certificate.read_bytes()).fingerprint(hashes.SHA256())
    except OSError as error:
        raise _error(peer, f"{peer.certificate} cannot be read: {error.strerror}") from error
    except ValueError:
        raise _error(peer, f"{peer.certificate} holds no certificate in PEM") from None


def _error(peer: PeerConfig, what: str) -> KmsError:
    return KmsError(Code.CONFIG_INVALID, what, faults=(Fault(f"peers.{peer.name}.certificate", what),))
