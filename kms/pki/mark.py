"""The mark of a development authority: the organisation name of its certificate."""

from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

DEVELOPMENT_MARK = "DEVELOPMENT ONLY - not for production"


def is_development(path: Path) -> bool:
    """Whether a PEM file holds a certificate that `kms pki` made, an authority's or one of its making.

    Raises `ValueError` when it holds no certificate at all.
    """
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    parties = [party for found in certificates for party in (found.subject, found.issuer)]
    names = (name for party in parties for name in party.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return any(name.value == DEVELOPMENT_MARK for name in names)
