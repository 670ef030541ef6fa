import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.domain.signatures import check_signature, fingerprint
from kms.errors import Code, KmsError

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2 section 2.4.2)

# RFC 6979 section A.2.5: curve P-256, SHA-256, message "sample"
PUBLIC = bytes.fromhex(
    "3059301306072A8648CE3D020106082A8648CE3D03010703420004"
    "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
SIGNATURE = bytes.fromhex(
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
)


def _der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_published_signature_verifies() -> None:
    check_signature(PUBLIC, b"sample", SIGNATURE)


def test_a_fresh_signature_verifies_under_its_key_alone() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(b"payload", ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    check_signature(_der(key.public_key()), b"payload", signature)
    with pytest.raises(KmsError):
        check_signature(PUBLIC, b"payload", signature)


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (b"samplf", SIGNATURE),
        (b"", SIGNATURE),
        (b"sample", SIGNATURE[:-1] + b"\xa9"),
        (b"sample", SIGNATURE[32:] + SIGNATURE[:32]),
        (b"sample", SIGNATURE[:-1]),
        (b"sample", SIGNATURE + b"\x00"),
        (b"sample", b""),
        (b"sample", bytes(64)),  # r = s = 0 must never verify
        (b"sample", ORDER.to_bytes(32, "big") * 2),
        (b"sample", b"\xff" * 64),
    ],
)
def test_any_other_is_refused(payload: bytes, signature: bytes) -> None:
    with pytest.raises(KmsError) as caught:
        check_signature(PUBLIC, payload, signature)
    assert caught.value.code is Code.ENVELOPE_SIGNATURE


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"no key",
        PUBLIC[:-1],
        _der(ec.generate_private_key(ec.SECP384R1()).public_key()),
        _der(rsa.generate_private_key(65537, 2048).public_key()),
    ],
)
def test_what_is_no_p_256_key_is_refused(key: bytes) -> None:
    with pytest.raises(KmsError) as caught:
        check_signature(key, b"sample", SIGNATURE)
    assert caught.value.code is Code.KEY_ATTRIBUTES


def test_people_compare_a_fingerprint_in_groups() -> None:
    shown = fingerprint(PUBLIC)
    assert bytes.fromhex(shown) == hashlib.sha256(PUBLIC).digest()
    assert [len(group) for group in shown.split(" ")] == [4] * 16
    assert shown == shown.upper()
