"""The public halves of platforms' keys: what is taken as one, and their standard encoding.

Rules: one kind each, and nothing else is taken: signing keys are EC P-256, transport keys RSA of 3072 bits with
exponent 65537, both as DER SubjectPublicKeyInfo (RFC 5480; RFC 3279 section 2.3.1), which is what fingerprints are made
of.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from kms.errors import Code, KmsError

RSA_BITS = 3072
RSA_EXPONENT = 65537
_POINT_LENGTH = 65  # uncompressed: 04 | x | y; CKA_EC_POINT is that as a DER OCTET STRING (PKCS#11 2.40 section 2.3.3)


def check_signing_key(der: bytes) -> None:
    """Raise `input.invalid` unless these bytes are the one encoding of a P-256 public key."""
    key = _load(der)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1) or _dump(key) != der:
        raise KmsError(Code.INPUT_INVALID, "a signing key must be an EC public key on P-256 (DER)")


def parse_transport_key(der: bytes) -> rsa.RSAPublicNumbers:
    """The numbers of a transport key. Raises `input.invalid` unless it is RSA 3072 with exponent 65537."""
    key = _load(der)
    if (
        not isinstance(key, rsa.RSAPublicKey)
        or key.key_size != RSA_BITS
        or key.public_numbers().e != RSA_EXPONENT
        or _dump(key) != der
    ):
        raise KmsError(Code.INPUT_INVALID, f"a transport key must be an RSA public key of {RSA_BITS} bits (DER)")
    return key.public_numbers()


def build_signing_key(ec_point: bytes) -> bytes:
    """Encode a token's CKA_EC_POINT on P-256, with or without its DER header. Raises `key.attributes`."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), ec_point[-_POINT_LENGTH:])
    except ValueError:
        raise KmsError(Code.KEY_ATTRIBUTES, "the HSM made a signing key that is no point on P-256") from None
    return _dump(key)


def build_transport_key(modulus: bytes, exponent: bytes) -> bytes:
    """Encode a token's RSA public key. Raises `key.attributes` unless it has 3072 bits and exponent 65537."""
    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
    if numbers.n.bit_length() != RSA_BITS or numbers.e != RSA_EXPONENT:
        raise KmsError(Code.KEY_ATTRIBUTES, f"the HSM made a transport key that is not RSA of {RSA_BITS} bits")
    return _dump(numbers.public_key())


def _load(der: bytes) -> object:
    try:
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None


def _dump(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
