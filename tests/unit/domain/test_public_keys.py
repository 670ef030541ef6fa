import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.domain.public_keys import build_signing_key, build_transport_key, check_signing_key, parse_transport_key
from kms.errors import Code, KmsError

SIGNING = ec.generate_private_key(ec.SECP256R1()).public_key()
TRANSPORT = rsa.generate_private_key(65537, 3072).public_key()


def dump(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_the_right_keys_are_taken() -> None:
    check_signing_key(dump(SIGNING))
    assert parse_transport_key(dump(TRANSPORT)) == TRANSPORT.public_numbers()


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x00",
        dump(TRANSPORT),
        dump(SIGNING) + b"\x00",
        dump(ec.generate_private_key(ec.SECP384R1()).public_key()),
    ],
    ids=["empty", "no key", "RSA", "more after it", "P-384"],
)
def test_what_is_no_signing_key_is_refused(der: bytes) -> None:
    with pytest.raises(KmsError) as failure:
        check_signing_key(der)
    assert failure.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize(
    "der",
    [
        dump(SIGNING),
        dump(rsa.generate_private_key(65537, 2048).public_key()),
        dump(rsa.RSAPublicNumbers(3, TRANSPORT.public_numbers().n).public_key()),
    ],
    ids=["EC", "2048 bits", "exponent 3"],
)
def test_what_is_no_transport_key_is_refused(der: bytes) -> None:
    with pytest.raises(KmsError) as failure:
        parse_transport_key(der)
    assert failure.value.code is Code.INPUT_INVALID


def test_a_tokens_point_is_taken_with_and_without_its_der_header() -> None:
    point = SIGNING.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert build_signing_key(point) == build_signing_key(b"\x04\x41" + point) == dump(SIGNING)
    with pytest.raises(KmsError) as failure:
        build_signing_key(b"\x04" + bytes(64))
    assert failure.value.code is Code.KEY_ATTRIBUTES


def test_a_tokens_rsa_key_is_encoded() -> None:
    numbers = TRANSPORT.public_numbers()
    assert build_transport_key(numbers.n.to_bytes(384, "big"), b"\x01\x00\x01") == dump(TRANSPORT)
    for modulus, exponent in ((bytes(383) + b"\x01", b"\x01\x00\x01"), (numbers.n.to_bytes(384, "big"), b"\x03")):
        with pytest.raises(KmsError) as failure:
            build_transport_key(modulus, exponent)
        assert failure.value.code is Code.KEY_ATTRIBUTES
