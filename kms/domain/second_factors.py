"""One-time codes (RFC 6238) whose secrets nobody stores, and what a security key showed.

Rules: a secret follows from the login key in the HSM and the credential's id: CMAC(key, 01 | label | id) and the same
with 02, the first 20 bytes of both. Codes have six digits, SHA-1 and steps of 30 seconds, since that is what
authenticator apps do. A code of the step before or after is taken too; no step is taken twice.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

STEP_S = 30
DIGITS = 6
DRIFT = 1  # steps
SECRET_LENGTH = 20  # bytes: RFC 4226 section 4, R6
LABEL = b"kms one-time codes 1"  # so that no other use of the login key gives the same


@dataclass(frozen=True)
class SecurityKey:
    """A security key's credential. `key_id`: its own id. `public_key`: COSE (RFC 9052). `counter`: of signatures."""

    key_id: bytes
    public_key: bytes
    counter: int


@dataclass(frozen=True)
class TotpSecret:
    """The secret of one-time codes, for its owner's app, shown once. `text`: base32. `uri`: otpauth."""

    text: str = field(repr=False)
    uri: str = field(repr=False)


def build_secret_inputs(credential_id: str) -> tuple[bytes, bytes]:
    """The two messages whose CMACs make a credential's secret; never 16 zero bytes, which give the check value."""
    first, second = (bytes([number]) + LABEL + b"\0" + credential_id.encode() for number in (1, 2))
    return first, second


def build_totp_secret(secret: bytes, *, issuer: str, login: str) -> TotpSecret:
    """Write a secret as authenticator apps take it. `issuer`: the platform's name, shown by the app."""
    text = base64.b32encode(secret).decode().rstrip("=")
    label = quote(f"{issuer}:{login}")
    return TotpSecret(text, f"otpauth://totp/{label}?{urlencode({'secret': text, 'issuer': issuer})}")


def compute_code(secret: bytes, step: int) -> str:
    """The code of a time step: HOTP with SHA-1 (RFC 4226 section 5.3, RFC 6238 section 4)."""
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def find_step(secret: bytes, code: str, *, now: datetime, used: int) -> int | None:
    """The time step whose code this is, now; None for a wrong code or one of a step that is not later than `used`."""
    present = int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - DRIFT, present + DRIFT + 1):
        same = hmac.compare_digest(compute_code(secret, step).encode(), code.encode())
        if same and step > used and found is None:
            found = step
    return found
