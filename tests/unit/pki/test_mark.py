from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kms.pki import init_pki, is_development

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_what_we_make_is_marked(tmp_path: Path) -> None:
    init_pki(tmp_path, ("localhost",), NOW)
    assert is_development(tmp_path / "ca.pem")
    assert is_development(tmp_path / "server.pem")


def test_another_authority_is_not_marked(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A Bank")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    path = tmp_path / "ca.pem"
    path.write_bytes(dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert not is_development(path)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("none")
    with pytest.raises(ValueError, match="PEM"):
        is_development(path)
