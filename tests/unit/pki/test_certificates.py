from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from kms.pki.certificates import Issuer, build_ca, build_peer, build_server, build_terminal

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def issuer() -> Issuer:
    key = _key()
    return Issuer(build_ca(key, NOW), key)


def test_another_implementation_takes_the_server_for_its_hosts_only(issuer: Issuer) -> None:
    server = build_server(issuer, _key().public_key(), ("localhost", "127.0.0.1"), NOW)
    policy = PolicyBuilder().store(Store([issuer.certificate])).time(NOW)
    policy.build_server_verifier(x509.DNSName("localhost")).verify(server, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("elsewhere")).verify(server, [])
    with pytest.raises(VerificationError):
        policy.build_client_verifier().verify(server, [])


def test_a_terminal_is_a_client_and_no_server(issuer: Issuer) -> None:
    terminal = build_terminal(issuer, _key().public_key(), "terminal-1", NOW)
    usage = terminal.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert terminal.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    terminal.verify_directly_issued_by(issuer.certificate)


def test_a_peer_is_client_and_server_for_its_hosts(issuer: Issuer) -> None:
    peer = build_peer(issuer, _key().public_key(), "bikes", ("localhost", "127.0.0.1"), NOW)
    policy = PolicyBuilder().store(Store([issuer.certificate])).time(NOW)
    policy.build_client_verifier().verify(peer, [])
    policy.build_server_verifier(x509.DNSName("localhost")).verify(peer, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("elsewhere")).verify(peer, [])


def test_certificates_end(issuer: Issuer) -> None:
    terminal = build_terminal(issuer, _key().public_key(), "terminal-1", NOW)
    assert terminal.not_valid_before_utc < NOW
    assert terminal.not_valid_after_utc - NOW == timedelta(days=397)
    assert issuer.certificate.not_valid_after_utc > terminal.not_valid_after_utc


def test_an_issuer_does_not_show_its_key(issuer: Issuer) -> None:
    assert "PrivateKey" not in repr(issuer)
