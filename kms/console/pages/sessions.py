"""Cookies and anti-forgery tokens.

Rules: a cookie holds a random secret and nothing else; it is `HttpOnly`, `SameSite=Strict`, for the whole site and this
host alone, and `Secure` with the `__Host-` prefix wherever the console speaks TLS (RFC 6265bis section 4.1.3.2). A
form's token is an HMAC under the secret of the cookie that the same browser shows: no other site can read or guess it.
"""

import hashlib
import hmac
from dataclasses import dataclass

from flask import Request, Response

from kms.errors import Code, KmsError

LOGIN, HALF, INVITATION, VISITOR = "kms-login", "kms-half", "kms-invitation", "kms-visitor"
TOKEN_FIELD = "csrf_token"  # noqa: S105 - a field's name
_LABEL = b"kms-console-form 1"


@dataclass(frozen=True)
class Cookies:
    """The console's cookies. `origin`: as browsers name the console."""

    origin: str

    @property
    def _is_secure(self) -> bool:
        return self.origin.startswith("https://")

    def name(self, cookie: str) -> str:
        """The cookie's name at this origin."""
        return f"__Host-{cookie}" if self._is_secure else cookie

    def find(self, request: Request, cookie: str) -> str:
        """The secret that the browser shows; empty without one."""
        return request.cookies.get(self.name(cookie), "")

    def give(self, answer: Response, cookie: str, secret: str) -> None:
        """Let the browser hold a secret until it is closed."""
        answer.set_cookie(self.name(cookie), secret, secure=self._is_secure, httponly=True, samesite="Strict", path="/")

    def take(self, answer: Response, cookie: str) -> None:
        """Let the browser forget a secret."""
        answer.delete_cookie(self.name(cookie), secure=self._is_secure, httponly=True, samesite="Strict", path="/")


def build_token(secret: str) -> str:
    """The anti-forgery token of whoever shows this cookie secret."""
    return hmac.new(secret.encode(), _LABEL, hashlib.sha256).hexdigest()


def check_token(request: Request, secret: str, origin: str) -> None:
    """Raise `form.forged` unless the form came from a page of ours that this browser was given."""
    sent = request.headers.get("Origin")
    shown = request.form.get(TOKEN_FIELD, "")
    right = bool(secret) and hmac.compare_digest(shown.encode(), build_token(secret).encode())
    # Browsers name the origin of every POST (Fetch Standard section 3.2); who names none still needs the token.
    if not right or sent not in (None, origin):
        raise KmsError(
            Code.FORM_FORGED, "This form is not from a page that this browser was given just now: open the page again."
        )
