"""Requests that need approval, what was decided about them, and the sites' quorums."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.people import CredentialKind
from kms.domain.requests import Decision, RequestState


class RequestRow(Base):
    """One request (`kms.domain.requests.Request`). Its action is a text: the table of permissions may grow."""

    __tablename__ = "requests"
    __table_args__ = (
        CheckConstraint("length(digest) = 32", name="digest_length"),
        CheckConstraint("quorum >= 1", name="quorum"),
        Index("ix_requests_state_expires_at", "state", "expires_at"),
    )

    id: Mapped[PrimaryId]
    action: Mapped[Name]
    parameters: Mapped[Note]
    text: Mapped[Note]
    digest: Mapped[bytes]
    requested_by: Mapped[Id]
    requester_name: Mapped[Name]
    requested_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    quorum: Mapped[int]
    state: Mapped[RequestState] = mapped_column(enum_type(RequestState, "state"))
    reason: Mapped[Note]
    result: Mapped[Note]
    finished_at: Mapped[datetime | None]


class ApprovalRow(Base):
    """One person's decision (`kms.domain.requests.Approval`). A person decides once about a request."""

    __tablename__ = "approvals"
    __table_args__ = (UniqueConstraint("request_id", "person_id"),)

    id: Mapped[PrimaryId]
    request_id: Mapped[Id] = mapped_column(refer_to("requests.id"))
    person_id: Mapped[Id]
    person_name: Mapped[Name]
    account_id: Mapped[Id]
    decision: Mapped[Decision] = mapped_column(enum_type(Decision, "decision"))
    decided_at: Mapped[datetime]
    factor: Mapped[CredentialKind | None] = mapped_column(enum_type(CredentialKind, "factor"))
    credential_id: Mapped[Name]
    evidence: Mapped[Note]


class QuorumRow(Base):
    """A site's quorum for an action (`kms.domain.requests.Quorum`)."""

    __tablename__ = "quorums"
    __table_args__ = (CheckConstraint("approvals >= 1", name="approvals"),)

    action: Mapped[Name] = mapped_column(primary_key=True)
    approvals: Mapped[int]
    set_at: Mapped[datetime]
