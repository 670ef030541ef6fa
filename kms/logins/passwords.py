"""Passwords as argon2id hashes (RFC 9106).

Rules: the second recommended option of RFC 9106 section 4 (64 MiB, three passes, four lanes), of which only a few run
at once, so that a crowd of callers cannot take all memory. Without a stored hash the same work is done on one of a
random password, so that the time says nothing about who has an account.
"""

import secrets
import threading

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from kms.errors import Code, KmsError

AT_ONCE = 4
MEMORY_KIB = 65_536
PASSES = 3
LANES = 4


class Argon2Passwords:
    """`kms.service.people_ports.Passwords`. Safe to share between threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._nobody: str | None = None

    def hash(self, password: str) -> bytes:
        """See `Passwords.hash`."""
        with self._places:
            return self._hasher.hash(password).encode()

    def check(self, stored: bytes | None, password: str) -> None:
        """See `Passwords.check`."""
        nobodys = self._get_nobodys()  # whoever comes first makes it, known or not
        expected = stored.decode() if stored is not None else nobodys
        try:
            with self._places:
                self._hasher.verify(expected, password)
        except (VerificationError, InvalidHashError):
            stored = None
        if stored is None:
            raise KmsError(Code.LOGIN_REFUSED, "The password is wrong.")

    def _get_nobodys(self) -> str:
        with self._lock:
            if self._nobody is None:
                self._nobody = self._hasher.hash(secrets.token_urlsafe(32))
            return self._nobody
