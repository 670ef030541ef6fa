"""People, their accounts and credentials, and who somebody is once logged in.

Rules: a person counts once, whatever accounts and credentials they have: every rule of dual control names persons. An
auditor has no other role; an administrator has no role that touches keys (DESIGN section 7; rules R2, R35). No secret
stands here: of a password its argon2id hash, of a security key its public key, of a one-time code generator nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kms.errors import Code, KmsError


class Role(StrEnum):
    """What a person may do; the table is `kms.domain.permissions`."""

    ADMINISTRATOR = "administrator"  # people, terminals, configuration; nothing that touches keys
    SECURITY_OFFICER = "security-officer"  # masters, policies, campaigns, decisions about cards
    KEY_CUSTODIAN = "key-custodian"  # enters key components in ceremonies
    OPERATOR = "operator"  # daily work: cards, alarms, what is pending
    AUDITOR = "auditor"  # reads, and that is recorded


KEY_ROLES = frozenset({Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN})


class PersonState(StrEnum):
    """Whether a person may log in."""

    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


@dataclass(frozen=True)
class Person:
    """A person. `name`: as others know them, shown in records and ceremonies."""

    id: str
    name: str
    roles: frozenset[Role]
    state: PersonState
    created_at: datetime


@dataclass(frozen=True)
class Account:
    """A way in for a person. `login`: unique. `failed_logins`: since the last success; before `locked_until` refused."""

    id: str
    person_id: str
    login: str
    state: PersonState
    created_at: datetime
    failed_logins: int = 0
    locked_until: datetime | None = None


class CredentialKind(StrEnum):
    """What an account shows."""

    PASSWORD = "password"  # noqa: S105 - the name of a kind
    WEBAUTHN = "webauthn"
    TOTP = "totp"


SECOND_FACTORS = frozenset({CredentialKind.WEBAUTHN, CredentialKind.TOTP})


@dataclass(frozen=True)
class Credential:
    """One credential. `data`: the argon2id hash, or the security key's id and public key; empty for one-time codes.

    `used`: the security key's signature counter, or the last time step whose one-time code was taken (RFC 6238), so
    that none is taken twice.
    """

    id: str
    account_id: str
    kind: CredentialKind
    label: str
    data: bytes = field(repr=False)
    state: PersonState
    created_at: datetime
    used: int = 0
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class LoginSession:
    """A login. `id`: SHA-256 (hex) of the secret that the browser or command line holds. `authenticated_at`: fresh.

    `second_factor`: with which the login was completed.
    """

    id: str
    account_id: str
    person_id: str
    opened_at: datetime
    last_seen_at: datetime
    authenticated_at: datetime
    second_factor: CredentialKind
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Principal:
    """Who acts. `development`: the development login, which production refuses (all roles, approvals waived)."""

    person_id: str
    account_id: str
    name: str
    roles: frozenset[Role]
    login_session_id: str
    second_factor: CredentialKind | None
    authenticated_at: datetime
    development: bool = False

    @property
    def actor(self) -> str:
        """Who it was, for the audit log."""
        return f"{self.name} (development login)" if self.development else f"person {self.name}"


def check_roles(roles: Collection[Role]) -> None:
    """Raise `input.invalid` for roles that nobody may hold together, and for none at all."""
    if not roles:
        raise KmsError(Code.INPUT_INVALID, "A person needs at least one role.")
    if Role.AUDITOR in roles and len(set(roles)) > 1:
        raise KmsError(Code.INPUT_INVALID, "An auditor has no other role.")
    if Role.ADMINISTRATOR in roles and KEY_ROLES & set(roles):
        raise KmsError(Code.INPUT_INVALID, "An administrator has no role that touches keys.")
