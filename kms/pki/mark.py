"""The mark of a development authority: the organisation name of its certificate."""

from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

DEVELOPMENT_MARK = "DEVELOPMENT ONLY - not for production"


def is_development_ca(path: Path) -> bool:
    """Whether a PEM file holds a certificate that `kms pki` made. Raises `ValueError` when it holds none at all."""
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    names = (name for found in certificates for name in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return any(name.value == DEVELOPMENT_MARK for name in names)
