"""People, their accounts and credentials, and who somebody is once logged in.

Rules: a person counts once, whatever accounts and credentials they have: every rule of dual control names persons. An
auditor has no other role; an administrator has no role that touches keys (DESIGN section 7; rules R2, R35). No secret
stands here: of a password its argon2id hash, of a security key its public key, of a one-time code generator nothing.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kms.errors import Code, KmsError

PERSON = "person "
"""How the name of who acted begins in the audit log, where it was a person who logged in."""
BY_REQUEST = " (request "
"""What follows that name where others approved it."""


class Role(StrEnum):
    """What a person may do; the table is `kms.domain.permissions`."""

    ADMINISTRATOR = "administrator"  # people, terminals, configuration; nothing that touches keys
    SECURITY_OFFICER = "security-officer"  # masters, policies, campaigns, decisions about cards
    KEY_CUSTODIAN = "key-custodian"  # enters key components in ceremonies
    OPERATOR = "operator"  # daily work: cards, alarms, what is pending
    AUDITOR = "auditor"  # reads, and that is recorded


MIN_OFFICERS = 2  # whoever asks does not approve
MAX_NAME = 64  # characters
LOGIN = re.compile(r"[a-z][a-z0-9._-]{1,31}")

KEY_ROLES = frozenset({Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN})


class PersonState(StrEnum):
    """Whether a person may log in, or a credential be used."""

    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


class AccountState(StrEnum):
    """INVITED -> ENROLLED (has its credentials) -> ACTIVE (an officer knows that they are the person's), or DISABLED.

    Only an ACTIVE account logs in. Resetting its credentials makes it INVITED again.
    """

    INVITED = "INVITED"
    ENROLLED = "ENROLLED"
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
    """A way in for a person. `login`: unique. `failed_logins`: attempts since the last login that was completed.

    Before `locked_until` every attempt is refused.
    """

    id: str
    person_id: str
    login: str
    state: AccountState
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
    """One credential.

    `data`: the argon2id hash; the security key's public key (COSE, RFC 9052); for one-time codes the id of the login
    key that their secret follows from. `key_id`: the security key's own id of the credential, unique. `used`: the
    security key's signature counter, or the last time step whose one-time code was taken (RFC 6238), so that none is
    taken twice.
    """

    id: str
    account_id: str
    kind: CredentialKind
    label: str
    data: bytes = field(repr=False)
    state: PersonState
    created_at: datetime
    used: int = 0
    key_id: bytes | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class LoginSession:
    """A login. `id`: SHA-256 (hex) of the secret that the browser or command line holds. `authenticated_at`: fresh.

    `second_factor`: with which the login was completed; None while only the password was right. `challenge`: what a
    security key signs to complete it, 32 bytes.
    """

    id: str
    account_id: str
    person_id: str
    opened_at: datetime
    last_seen_at: datetime
    authenticated_at: datetime
    second_factor: CredentialKind | None
    challenge: bytes = field(default=b"", repr=False)
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Invitation:
    """Lets an account's person choose its credentials, once. `id`: SHA-256 (hex) of the secret that the person got.

    `invited_by`: who may not confirm the account; empty for the first people. `confirmed`: the account is ACTIVE once
    enrolled. `credential_id`: of the one-time codes that were offered; `challenge`: what a security key signs.
    """

    id: str
    account_id: str
    invited_by: str
    confirmed: bool
    created_at: datetime
    expires_at: datetime
    credential_id: str = ""
    challenge: bytes = field(default=b"", repr=False)
    used_at: datetime | None = None


@dataclass(frozen=True)
class NewPerson:
    """Somebody to be added."""

    name: str
    login: str
    roles: frozenset[Role]


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
        return f"{self.name} (development login)" if self.development else f"{PERSON}{self.name}"


def check_roles(roles: Collection[Role]) -> None:
    """Raise `input.invalid` for roles that nobody may hold together, and for none at all."""
    if not roles:
        raise KmsError(Code.INPUT_INVALID, "A person needs at least one role.")
    if Role.AUDITOR in roles and len(set(roles)) > 1:
        raise KmsError(Code.INPUT_INVALID, "An auditor has no other role.")
    if Role.ADMINISTRATOR in roles and KEY_ROLES & set(roles):
        raise KmsError(Code.INPUT_INVALID, "An administrator has no role that touches keys.")


def check_name(name: str) -> None:
    """Raise `input.invalid` for a name that cannot be shown as it is in records."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != " ".join(name.split()):
        raise KmsError(Code.INPUT_INVALID, f"A name has 1 to {MAX_NAME} printable characters, with single spaces.")
    if set(name) & set("()"):  # the audit log puts after the name, in parentheses, by what right somebody acted
        raise KmsError(Code.INPUT_INVALID, "A name has no parentheses.")


def check_login(login: str) -> None:
    """Raise `input.invalid` for a text that is no login."""
    if LOGIN.fullmatch(login) is None:
        raise KmsError(
            Code.INPUT_INVALID, "A login has 2 to 32 characters, a-z, 0-9, dot, dash and underscore, a letter first."
        )


def check_first_people(people: Sequence[NewPerson]) -> None:
    """Raise `input.invalid` unless these can begin: an administrator, two officers, all of them different."""
    for person in people:
        check_name(person.name)
        check_login(person.login)
        check_roles(person.roles)
    if len({person.name for person in people}) < len(people) or len({person.login for person in people}) < len(people):
        raise KmsError(Code.INPUT_INVALID, "Two of the people have the same name or login.")
    if sum(Role.SECURITY_OFFICER in person.roles for person in people) < MIN_OFFICERS:
        raise KmsError(Code.INPUT_INVALID, f"The first people are {MIN_OFFICERS} security officers at least.")
    if not any(Role.ADMINISTRATOR in person.roles for person in people):
        raise KmsError(Code.INPUT_INVALID, "One of the first people is an administrator.")


def compute_enrolment_code(credentials: Collection[Credential]) -> str:
    """Eight characters that the enrolled person reads out to the officer who confirms the account."""
    parts = sorted(f"{item.id}:{item.kind}:{hashlib.sha256(item.data).hexdigest()}" for item in credentials)
    text = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8].upper()
    return f"{text[:4]}-{text[4:]}"
