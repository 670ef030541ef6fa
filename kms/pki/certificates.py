"""X.509 certificates as RFC 5280 wants them, one builder per kind; no files."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kms.pki.mark import DEVELOPMENT_MARK

CA_LIFE = timedelta(days=5 * 365)
LEAF_LIFE = timedelta(days=397)
_CLOCK_SKEW = timedelta(minutes=5)  # a terminal's clock may be behind


@dataclass(frozen=True)
class Issuer:
    """An authority: its certificate and its private key, which shows in no repr."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Issuer({self.certificate.subject.rfc4514_string()})"


def build_ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """Build a self-signed authority that may issue leaf certificates only."""
    name = _build_name("Key-management development CA")
    builder = _start(name, name, key.public_key(), now, CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
    return builder.sign(key, hashes.SHA256())


def build_server(
    issuer: Issuer, public_key: ec.EllipticCurvePublicKey, hosts: tuple[str, ...], now: datetime
) -> x509.Certificate:
    """Build a TLS server certificate. `hosts`: DNS names and IP addresses, the first also its common name."""
    builder = _start_leaf(issuer, hosts[0], public_key, now, ExtendedKeyUsageOID.SERVER_AUTH)
    names = x509.SubjectAlternativeName([_build_host(host) for host in hosts])
    return builder.add_extension(names, critical=False).sign(issuer.private_key, hashes.SHA256())


def build_terminal(issuer: Issuer, public_key: ec.EllipticCurvePublicKey, name: str, now: datetime) -> x509.Certificate:
    """Build a TLS client certificate; the server knows it by its fingerprint, the name is for people."""
    builder = _start_leaf(issuer, name, public_key, now, ExtendedKeyUsageOID.CLIENT_AUTH)
    return builder.sign(issuer.private_key, hashes.SHA256())


def build_peer(
    issuer: Issuer, public_key: ec.EllipticCurvePublicKey, name: str, hosts: tuple[str, ...], now: datetime
) -> x509.Certificate:
    """Build a peer platform's TLS certificate: client where it calls us, server where its own listener shows it."""
    builder = _start_leaf(
        issuer, name, public_key, now, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    )
    names = x509.SubjectAlternativeName([_build_host(host) for host in hosts])
    return builder.add_extension(names, critical=False).sign(issuer.private_key, hashes.SHA256())


def _start_leaf(
    issuer: Issuer, name: str, public_key: ec.EllipticCurvePublicKey, now: datetime, *purposes: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    builder = _start(_build_name(name), issuer.certificate.subject, public_key, now, LEAF_LIFE)
    authority = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        # RFC 5280 section 4.2.1.12: TLS libraries refuse a certificate used for the other side's purpose.
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
    )


def _start(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _build_name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT_MARK),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _build_host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
