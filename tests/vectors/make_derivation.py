"""Make derivation.json: known answers of docs/key-derivation.md, by `cryptography` and nothing of the product.

Run it as `python -m tests.vectors.make_derivation > tests/vectors/derivation.json`. The context is encoded here once
more, from the document; the PRF, the counter and the cutting to length are those of the library (OpenSSL's CMAC).
"""

import hashlib
import json
import sys
from importlib.metadata import version

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

LENGTHS = {"DES2": 16, "DES3": 24, "AES128": 16, "AES192": 24, "AES256": 32}

Case = dict[str, str | int]


def prefixed(field: bytes) -> bytes:
    return len(field).to_bytes(1, "big") + field


def encode_context(case: Case) -> bytes:
    return (
        b"\x01"
        + prefixed(str(case["platform"]).encode())
        + prefixed(str(case["purpose"]).encode())
        + prefixed(bytes.fromhex(str(case["card_identity"])))
        + prefixed(bytes.fromhex(str(case["aid"])))
        + prefixed(int(case["generation"]).to_bytes(4, "big"))
        + prefixed(str(case["role"]).encode())
        + prefixed(str(case["key_type"]).encode())
    )


def derive(case: Case) -> Case:
    length = LENGTHS[str(case["key_type"])]
    context = encode_context(case)
    bits = (8 * length).to_bytes(2, "big")
    fixed = hashlib.sha256(b"GlobalPlatform card key" + b"\x00" + context + bits).digest()[:15]
    kdf = KBKDFCMAC(
        algorithm=AES,
        mode=Mode.CounterMode,
        length=length,
        rlen=1,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=fixed,
    )
    key = kdf.derive(bytes.fromhex(str(case["master"])))
    return {**case, "context": context.hex(), "fixed": fixed.hex(), "key": key.hex()}


def make() -> str:
    base: Case = {
        "master": bytes(range(0x60, 0x80)).hex(),
        "platform": "issuer-1",
        "purpose": "ssd",
        "card_identity": "4276001234560102030405060708",
        "aid": "A0000001510000010203",
        "generation": 1,
        "role": "ENC",
        "key_type": "DES2",
    }
    changes: list[Case] = [
        {},
        {"role": "MAC"},
        {"role": "DEK"},
        {"generation": 0},
        {"generation": 2},
        {"generation": 0xFFFFFFFF},
        {"purpose": "isd"},
        {"purpose": "ssd-initial"},
        {"platform": "provider-1"},
        {"platform": "x" * 64},
        {"card_identity": "01"},
        {"card_identity": bytes(range(32)).hex()},
        {"aid": "A000000151"},
        {"aid": "A0000001510000000000000000000000"},
        {"master": bytes(range(0x40, 0x50)).hex()},
        {"master": bytes(range(0x40, 0x58)).hex()},
        {"key_type": "DES3"},
        {"key_type": "AES128"},
        {"key_type": "AES192"},
        {"key_type": "AES256"},
        {"key_type": "AES256", "role": "DEK", "purpose": "isd", "generation": 7},
    ]
    document = {
        "provenance": (
            "Made by tests/vectors/make_derivation.py with KBKDFCMAC of the Python package cryptography "
            f"{version('cryptography')} (OpenSSL), independent of the product. Values are hexadecimal; DES keys are "
            "given as derived, without parity."
        ),
        "vectors": [derive({**base, **change}) for change in changes],
    }
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(make())
