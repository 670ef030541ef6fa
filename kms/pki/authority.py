"""The development authority's folder: what it holds and how files get there.

Rules: `ca`, `server`, terminals' and peers' names, each as NAME.pem and NAME.key. A file is created, never replaced; a
step that fails half way takes its own files away again.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.errors import Code, KmsError
from kms.pki.certificates import Issuer, build_ca, build_peer, build_server, build_terminal

CA = "ca"
SERVER = "server"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True)
class IssuedCertificate:
    """A certificate that was made. `fingerprint`: SHA-256 of its DER, by which terminals are enrolled, peers pinned."""

    name: str
    certificate_file: Path
    key_file: Path
    fingerprint: bytes
    expires_at: datetime

    def remove(self) -> None:
        """Take the files away again: what they were for did not come about."""
        self.certificate_file.unlink(missing_ok=True)
        self.key_file.unlink(missing_ok=True)


def init_pki(folder: Path, hosts: tuple[str, ...], now: datetime) -> tuple[IssuedCertificate, IssuedCertificate]:
    """Make an authority and a server certificate in `folder`. Raises `input.conflict` when either exists."""
    folder.mkdir(parents=True, exist_ok=True)
    _check_free(folder, (CA, SERVER))
    ca_key = ec.generate_private_key(ec.SECP256R1())
    issuer = Issuer(build_ca(ca_key, now), ca_key)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = build_server(issuer, server_key.public_key(), hosts, now)
    return _write(folder, CA, issuer.certificate, ca_key), _write(folder, SERVER, server, server_key)


def issue_terminal(folder: Path, name: str, now: datetime) -> IssuedCertificate:
    """Make a client certificate. Raises `input.invalid`, `input.conflict`, `input.not-found` (no authority yet)."""
    _check_name(name)
    _check_free(folder, (name,))
    issuer = _load_issuer(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    return _write(folder, name, build_terminal(issuer, key.public_key(), name, now), key)


def issue_peer(folder: Path, name: str, hosts: tuple[str, ...], now: datetime) -> IssuedCertificate:
    """Make a certificate for a peer platform, client and server alike. Raises as `issue_terminal` does."""
    _check_name(name)
    _check_free(folder, (name,))
    issuer = _load_issuer(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    return _write(folder, name, build_peer(issuer, key.public_key(), name, hosts, now), key)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in {CA, SERVER}:
        raise KmsError(
            Code.INPUT_INVALID, "A name has 1-63 lower-case letters, digits and hyphens, and is neither ca nor server"
        )


def _load_issuer(folder: Path) -> Issuer:
    try:
        certificate = x509.load_pem_x509_certificate(_certificate_file(folder, CA).read_bytes())
        key = serialization.load_pem_private_key(_key_file(folder, CA).read_bytes(), password=None)
    except OSError as error:
        raise KmsError(Code.NOT_FOUND, f"{folder} holds no authority: make one with `kms pki init`") from error
    except ValueError:
        raise KmsError(Code.INPUT_INVALID, f"The authority in {folder} cannot be read: its files are damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise KmsError(Code.INPUT_INVALID, f"ca.key and ca.pem in {folder} do not belong together")
    return Issuer(certificate, key)


def _check_free(folder: Path, names: Sequence[str]) -> None:
    files = [path for name in names for path in (_certificate_file(folder, name), _key_file(folder, name))]
    taken = [str(path) for path in files if path.exists()]
    if taken:
        raise KmsError(Code.CONFLICT, f"Nothing is overwritten, and there is already {', '.join(taken)}")


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> IssuedCertificate:
    issued = IssuedCertificate(
        name=name,
        certificate_file=_certificate_file(folder, name),
        key_file=_key_file(folder, name),
        fingerprint=certificate.fingerprint(hashes.SHA256()),
        expires_at=certificate.not_valid_after_utc,
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _create(issued.key_file, private, 0o600)
    _create(issued.certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return issued


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        # O_EXCL: also two commands at once never overwrite; the mode holds from the file's first moment.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        raise KmsError(Code.CONFLICT, f"{path} cannot be made: {error.strerror}") from error


def _certificate_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pem"


def _key_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.key"
