"""The signed record of a ceremony, and its check with public data alone.

Rules: signed is the record as canonical JSON: keys sorted, no spaces, UTF-8. The signature is ECDSA on P-256 over
SHA-256, in DER, so that openssl checks it (docs/ceremony-records.md). The public key in the file says only which key
signed: whoever checks compares its fingerprint with one that they know.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from kms.domain.signatures import SIGNATURE_LENGTH, check_signature, fingerprint
from kms.errors import Code, KmsError

FORMAT = "kms-ceremony-record/1"
MAX_TEXT = 2_000_000  # characters
_HALF = SIGNATURE_LENGTH // 2


@dataclass(frozen=True)
class VerifiedRecord:
    """A record whose signature fits. `fingerprint`: of the key that signed it."""

    record: Mapping[str, object]
    fingerprint: str


def build_payload(record: Mapping[str, object]) -> bytes:
    """What is signed."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def build_record_text(record: Mapping[str, object], signature: bytes, public_key_der: bytes) -> str:
    """The file: the record, its signature (r | s, 64 bytes, given) and the public key."""
    halves = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    pem = load_der_public_key(public_key_der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = {
        "format": FORMAT,
        "record": record,
        "signature": base64.b64encode(encode_dss_signature(*halves)).decode(),
        "public_key": pem.decode(),
        "public_key_fingerprint": fingerprint(public_key_der),
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def verify_record(text: str, known_key_der: bytes | None = None) -> VerifiedRecord:
    """Check a record's file. `known_key_der`: the key that must have signed it, where the reader has it.

    Raises `ceremony.record-refused`.
    """
    try:
        content = json.loads(text) if len(text) <= MAX_TEXT else None
        if not isinstance(content, dict) or content["format"] != FORMAT or not isinstance(content["record"], dict):
            raise _refuse("it is not a ceremony's record")
        key = load_pem_public_key(content["public_key"].encode())
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        numbers = decode_dss_signature(base64.b64decode(content["signature"], validate=True))
        signature = b"".join(number.to_bytes(_HALF, "big") for number in numbers)
        record: Mapping[str, object] = content["record"]
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError, binascii.Error):
        raise _refuse("it is not a ceremony's record, or damaged") from None
    if known_key_der is not None and not hmac.compare_digest(der, known_key_der):
        raise _refuse("another key signed it than the one given")
    try:
        check_signature(der, build_payload(record), signature)
    except KmsError:
        raise _refuse("its signature does not fit: it was changed") from None
    return VerifiedRecord(record, fingerprint(der))


def _refuse(why: str) -> KmsError:
    return KmsError(Code.CEREMONY_RECORD, f"The record is refused: {why}.")
