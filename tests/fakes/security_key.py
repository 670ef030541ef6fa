"""A security key in software, written from the W3C's WebAuthn Level 2 (sections 6.1, 6.5, 5.8.1, 7) alone.

`origin`: of the page that it believes itself on. What it is asked for is the options' JSON, what it answers is what
`PublicKeyCredential.toJSON()` gives.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

USER_PRESENT = 0x01
USER_VERIFIED = 0x04
ATTESTED = 0x40


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SoftwareSecurityKey:
    """`counter`: of its signatures; `counts` off: a key that does not count. `verifies`: asks for PIN or finger."""

    def __init__(self, origin: str, *, counts: bool = True, verifies: bool = True) -> None:
        self.origin = origin
        self.key_id = secrets.token_bytes(16)
        self.counter = 0
        self.counts = counts
        self.verifies = verifies
        self.cross_origin = False
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: Mapping[str, Any], *, rp_id: str | None = None) -> dict[str, Any]:
        """Register: `navigator.credentials.create`. `rp_id`: another one than the options', for a key that errs."""
        numbers = self._key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.key_id).to_bytes(2, "big") + self.key_id + public
        auth_data = self._build_auth_data(rp_id or options["rp"]["id"], ATTESTED) + attested
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": auth_data})
        client_data = self._build_client_data("webauthn.create", options["challenge"])
        return self._answer(clientDataJSON=encode(client_data), attestationObject=encode(statement))

    def get(self, options: Mapping[str, Any], *, rp_id: str | None = None) -> dict[str, Any]:
        """Assert: `navigator.credentials.get`."""
        auth_data = self._build_auth_data(rp_id or options["rpId"], 0)
        client_data = self._build_client_data("webauthn.get", options["challenge"])
        signature = self._key.sign(auth_data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            clientDataJSON=encode(client_data), authenticatorData=encode(auth_data), signature=encode(signature)
        )

    def _build_auth_data(self, rp_id: str, flags: int) -> bytes:
        if self.counts:
            self.counter += 1
        flags |= USER_PRESENT | (USER_VERIFIED if self.verifies else 0)
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big")

    def _build_client_data(self, kind: str, challenge: str) -> bytes:
        data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return json.dumps(data).encode()

    def _answer(self, **response: str) -> dict[str, Any]:
        key_id = encode(self.key_id)
        return {"id": key_id, "rawId": key_id, "type": "public-key", "response": response, "clientExtensionResults": {}}
