"""What the use cases of people and logins need from the outside.

Rules: repositories keep the rules of `kms.service.ports`. `end` and `use` are one conditional statement each, so that
what may happen once happens once, however many ask at the same moment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from kms.domain.people import Account, Credential, Invitation, LoginSession, Person
from kms.domain.second_factors import SecurityKey

T = TypeVar("T")


class Noun(Protocol[T]):
    """The operations every one of these nouns has."""

    def add(self, item: T) -> None: ...
    def get(self, item_id: str) -> T: ...
    def find(self, item_id: str) -> T | None: ...
    def save(self, item: T) -> None: ...
    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[T]: ...


class PersonRepository(Noun[Person], Protocol):
    """People; a name is taken once."""


class AccountRepository(Noun[Account], Protocol):
    """Accounts; a login is taken once."""

    def find_by_login(self, login: str) -> Account | None: ...
    def list_for_person(self, person_id: str) -> Sequence[Account]: ...


class CredentialRepository(Noun[Credential], Protocol):
    """Credentials; a security key's own id is taken once."""

    def list_for_account(self, account_id: str) -> Sequence[Credential]:
        """The ACTIVE ones, the oldest first."""
        ...

    def use(self, credential: Credential, used: int, at: datetime) -> None:
        """Write `used` where the stored one is ACTIVE and still as in `credential`, else `login.refused`."""
        ...

    def disable_for_account(self, account_id: str) -> int:
        """Disable all of an account's; how many were active."""
        ...


class LoginSessionRepository(Noun[LoginSession], Protocol):
    """Logins."""

    def end(self, session_id: str, at: datetime) -> bool:
        """End one that is open; whether it was."""
        ...

    def end_for_account(self, account_id: str, at: datetime) -> int:
        """End all of an account's that are open; how many."""
        ...

    def delete_older(self, opened_before: datetime) -> int:
        """Delete those opened before that; how many."""
        ...


class InvitationRepository(Noun[Invitation], Protocol):
    """Invitations."""

    def list_for_account(self, account_id: str) -> Sequence[Invitation]: ...
    def use(self, invitation: Invitation, at: datetime) -> None:
        """Mark one as used that is not, and still has this challenge; else `login.invitation`."""
        ...

    def end_for_account(self, account_id: str, at: datetime) -> int:
        """Mark all of an account's that are open as used; how many."""
        ...


class Passwords(Protocol):
    """Hashing passwords, slowly."""

    def hash(self, password: str) -> bytes:
        """The argon2id hash with its parameters and salt."""
        ...

    def check(self, stored: bytes | None, password: str) -> None:
        """Raise `login.refused` unless the password has this hash; without one, after the same work."""
        ...


class SecurityKeys(Protocol):
    """WebAuthn: what browsers are asked, and what security keys answer. Options and answers are JSON as W3C writes it.

    User verification is always asked for: the key itself is a second factor only with its PIN or fingerprint.
    """

    def build_registration(
        self, *, challenge: bytes, user_id: bytes, login: str, name: str, known: Sequence[bytes]
    ) -> Mapping[str, object]:
        """Options for `navigator.credentials.create`. `known`: ids of security keys that are registered already."""
        ...

    def check_registration(self, challenge: bytes, answer: Mapping[str, object]) -> SecurityKey:
        """Raises `login.refused` for an answer to another challenge, for another site, or without verified user."""
        ...

    def build_assertion(self, *, challenge: bytes, allowed: Sequence[bytes]) -> Mapping[str, object]:
        """Options for `navigator.credentials.get`. `allowed`: the ids of the account's security keys."""
        ...

    def read_key_id(self, answer: Mapping[str, object]) -> bytes:
        """Which credential an assertion says it is of. Raises `login.refused` for something else."""
        ...

    def check_assertion(self, challenge: bytes, answer: Mapping[str, object], key: SecurityKey) -> int:
        """The new signature counter. Raises `login.refused`, also for a counter that does not go up."""
        ...

    def build_evidence(self, answer: Mapping[str, object], key: SecurityKey) -> str:
        """The assertion as JSON, with all that checks it again without this platform: public key, origin and site."""
        ...
