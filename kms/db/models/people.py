"""People, their accounts, credentials, logins and invitations. No secret stands here that opens anything."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, Name, PrimaryId, refer_to
from kms.db.types import RolesText, enum_type
from kms.domain.people import AccountState, CredentialKind, PersonState, Role

DIGEST = 64  # characters: SHA-256 in hexadecimal


class PersonRow(Base):
    """A person (`kms.domain.people.Person`)."""

    __tablename__ = "people"

    id: Mapped[PrimaryId]
    name: Mapped[Name] = mapped_column(unique=True)
    roles: Mapped[frozenset[Role]] = mapped_column(RolesText)
    state: Mapped[PersonState] = mapped_column(enum_type(PersonState, "state"))
    created_at: Mapped[datetime]


class AccountRow(Base):
    """A way in (`kms.domain.people.Account`)."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("failed_logins >= 0", name="failed_logins"),)

    id: Mapped[PrimaryId]
    person_id: Mapped[Id] = mapped_column(refer_to("people.id"), index=True)
    login: Mapped[Name] = mapped_column(unique=True)
    state: Mapped[AccountState] = mapped_column(enum_type(AccountState, "state"))
    created_at: Mapped[datetime]
    failed_logins: Mapped[int]
    locked_until: Mapped[datetime | None]


class CredentialRow(Base):
    """What an account shows (`kms.domain.people.Credential`)."""

    __tablename__ = "credentials"

    id: Mapped[PrimaryId]
    account_id: Mapped[Id] = mapped_column(refer_to("accounts.id"), index=True)
    kind: Mapped[CredentialKind] = mapped_column(enum_type(CredentialKind, "kind"))
    label: Mapped[Name]
    data: Mapped[bytes]
    state: Mapped[PersonState] = mapped_column(enum_type(PersonState, "state"))
    created_at: Mapped[datetime]
    used: Mapped[int] = mapped_column(BigInteger)
    key_id: Mapped[bytes | None] = mapped_column(unique=True)
    last_used_at: Mapped[datetime | None]


class LoginSessionRow(Base):
    """A login (`kms.domain.people.LoginSession`)."""

    __tablename__ = "login_sessions"
    __table_args__ = (Index("ix_login_sessions_opened_at", "opened_at"),)

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    account_id: Mapped[Id] = mapped_column(refer_to("accounts.id"), index=True)
    person_id: Mapped[Id] = mapped_column(refer_to("people.id"))
    opened_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    second_factor: Mapped[CredentialKind | None] = mapped_column(enum_type(CredentialKind, "second_factor"))
    challenge: Mapped[bytes]
    ended_at: Mapped[datetime | None]


class InvitationRow(Base):
    """An invitation (`kms.domain.people.Invitation`)."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    account_id: Mapped[Id] = mapped_column(refer_to("accounts.id"), index=True)
    invited_by: Mapped[Id]
    confirmed: Mapped[bool]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    credential_id: Mapped[Id]
    challenge: Mapped[bytes]
    used_at: Mapped[datetime | None]
