"""Ceremonies, their steps as executed, and who held which key component."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from kms.card.keys import KcvMethod, KeyType
from kms.db.models.base import Base, Id, Name, Note, PrimaryId, refer_to
from kms.db.types import enum_type
from kms.domain.ceremonies import CeremonyState
from kms.domain.ceremony_scripts import CeremonyKind, StepKind


class CeremonyRow(Base):
    """One ceremony (`kms.domain.ceremonies.Ceremony`). What is sealed or backed up in it is wrapped."""

    __tablename__ = "ceremonies"
    __table_args__ = (
        CheckConstraint("length(digest) = 32", name="digest_length"),
        CheckConstraint("length(pair_id) = 16", name="pair_id_length"),
        CheckConstraint("length(object_id) = 16", name="object_id_length"),
        Index("ix_ceremonies_state_cleared", "state", "cleared"),
    )

    id: Mapped[PrimaryId]
    script_name: Mapped[Name]
    script: Mapped[Note]
    digest: Mapped[bytes]
    kind: Mapped[CeremonyKind] = mapped_column(enum_type(CeremonyKind, "kind"))
    rehearsal: Mapped[bool]
    key_name: Mapped[Name]
    started_by: Mapped[Name]
    started_at: Mapped[datetime]
    deadline: Mapped[datetime]
    state: Mapped[CeremonyState] = mapped_column(enum_type(CeremonyState, "state"))
    pair_id: Mapped[bytes] = mapped_column(unique=True)
    object_id: Mapped[bytes] = mapped_column(unique=True)
    software: Mapped[Name]
    generation: Mapped[int | None]
    expected_kcv: Mapped[bytes]
    valid_days: Mapped[int | None]
    because: Mapped[Note]
    peer_file: Mapped[Note]
    position: Mapped[int]
    version: Mapped[int]
    pair_public: Mapped[bytes]
    sealed: Mapped[bytes]
    key_type: Mapped[KeyType | None] = mapped_column(enum_type(KeyType, "key_type"))
    kcv: Mapped[bytes]
    kcv_method: Mapped[KcvMethod | None] = mapped_column(enum_type(KcvMethod, "kcv_method"))
    backup: Mapped[bytes]
    key_id: Mapped[Id | None] = mapped_column(refer_to("master_keys.id"), index=True)
    cleared: Mapped[bool]
    finished_at: Mapped[datetime | None]
    why: Mapped[Note]
    record: Mapped[Note]


class StepRecordRow(Base):
    """One person's part in a step (`kms.domain.ceremonies.StepRecord`). A person does a step once."""

    __tablename__ = "ceremony_steps"
    __table_args__ = (UniqueConstraint("ceremony_id", "number", "person_id"),)

    id: Mapped[PrimaryId]
    ceremony_id: Mapped[Id] = mapped_column(refer_to("ceremonies.id"))
    number: Mapped[int]
    do: Mapped[StepKind] = mapped_column(enum_type(StepKind, "do"))
    role: Mapped[Name]
    person_id: Mapped[Id]
    person_name: Mapped[Name]
    account_id: Mapped[Id]
    login_session_id: Mapped[Name]
    factor: Mapped[Name]
    done_at: Mapped[datetime]
    result: Mapped[Note]


class KeyComponentRow(Base):
    """Who held a component of which key (`kms.domain.key_components.KeyComponent`). Rows stay for ever."""

    __tablename__ = "key_components"
    __table_args__ = (
        UniqueConstraint("ceremony_id", "number"),
        CheckConstraint("number >= 1", name="number"),
        Index("ix_key_components_key_name_rehearsal", "key_name", "rehearsal"),
    )

    id: Mapped[PrimaryId]
    ceremony_id: Mapped[Id] = mapped_column(refer_to("ceremonies.id"))
    key_name: Mapped[Name]
    number: Mapped[int]
    person_id: Mapped[Id]
    person_name: Mapped[Name]
    account_id: Mapped[Id]
    login_session_id: Mapped[Name]
    kcv: Mapped[bytes]
    kcv_method: Mapped[KcvMethod] = mapped_column(enum_type(KcvMethod, "kcv_method"))
    rehearsal: Mapped[bool]
    entered_at: Mapped[datetime]
    wrapped: Mapped[bytes]
