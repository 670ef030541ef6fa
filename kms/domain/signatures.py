"""Signatures of platforms: ECDSA on P-256 over SHA-256 (FIPS 186-5), made in an HSM, checked with public data alone.

Rules: a signature is r | s, 32 bytes each, as PKCS#11 makes it. A check raises; nothing answers yes or no.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.errors import Code, KmsError

SIGNATURE_LENGTH = 64
_HALF = SIGNATURE_LENGTH // 2
_GROUP = 4  # digits that people compare at a time


def check_signature(public_key_der: bytes, payload: bytes, signature: bytes) -> None:
    """Raise `transfer.envelope-signature` unless `signature` is the key's over `payload`.

    `public_key_der`: SubjectPublicKeyInfo (RFC 5480). Raises `key.attributes` when it is no P-256 key.
    """
    key = _load_key(public_key_der)
    if len(signature) != SIGNATURE_LENGTH:
        raise _refusal()
    numbers = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    try:
        key.verify(encode_dss_signature(*numbers), payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise _refusal() from None


def fingerprint(public_key_der: bytes) -> str:
    """SHA-256 of a public key for people to compare: 16 groups of 4 upper-case hexadecimal digits."""
    digits = hashlib.sha256(public_key_der).hexdigest().upper()
    return " ".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


def _load_key(public_key_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(public_key_der)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KmsError(Code.KEY_ATTRIBUTES, "The peer's signing key is no P-256 public key: exchange keys again")
    return key


def _refusal() -> KmsError:
    return KmsError(
        Code.ENVELOPE_SIGNATURE, "The hand-over is not signed by the issuer's signing key: compare its fingerprint"
    )
