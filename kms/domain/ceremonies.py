"""Ceremonies as records, and who may do which step when.

Rules: the next step alone is done, by as many different people as it takes, each with the step's role. Nobody takes
part in two running ceremonies (R37). A ceremony past its time is over. What is not finished exists only wrapped to the
ceremony's key pair, so ending it is removing that pair. The development login of lab mode counts for everybody, and
the record says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kms.card.keys import KcvMethod, KeyType
from kms.domain.ceremony_scripts import CeremonyKind, Script, Step, StepKind
from kms.domain.people import Principal
from kms.errors import Code, KmsError


class CeremonyState(StrEnum):
    """Whether a ceremony goes on."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    ABORTED = "ABORTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class Subject:
    """What a ceremony is about, given when it is started.

    `expected_kcv`: of an imported key, as its maker announced it. `valid_days`: how long the key issues key sets.
    `because`: why, in people's words. `peer_file`: the peer's offer or answer, whose `key_name` is then the peer's.
    """

    key_name: str
    generation: int | None = None
    expected_kcv: bytes = b""
    valid_days: int | None = None
    because: str = ""
    peer_file: str = ""


@dataclass(frozen=True)
class Ceremony:
    """A ceremony under way or over. `position`: how many steps are done. `version`: counts up with every change.

    `script`: the file's text, `digest`: its SHA-256. `pair_id`, `pair_public`: the ceremony's key pair, while it has
    one. `object_id`: CKA_ID of the key it makes. `sealed`: that key, wrapped to the pair; `kcv`: its check value.
    `backup`: wrapped under the backup key. `cleared`: nothing of it is left in the HSM but a finished key.
    """

    id: str
    script_name: str
    script: str
    digest: bytes
    kind: CeremonyKind
    rehearsal: bool
    key_name: str
    started_by: str
    started_at: datetime
    deadline: datetime
    state: CeremonyState
    pair_id: bytes
    object_id: bytes
    software: str
    generation: int | None = None
    expected_kcv: bytes = b""
    valid_days: int | None = None
    because: str = ""
    peer_file: str = ""
    position: int = 0
    version: int = 0
    pair_public: bytes = b""
    sealed: bytes = field(default=b"", repr=False)
    key_type: KeyType | None = None
    kcv: bytes = b""
    kcv_method: KcvMethod | None = None
    backup: bytes = field(default=b"", repr=False)
    key_id: str | None = None
    cleared: bool = False
    finished_at: datetime | None = None
    why: str = ""
    record: str = field(default="", repr=False)


@dataclass(frozen=True)
class StepRecord:
    """A step as one person did it. `number`: of the step, from 1. `result`: JSON text, no secret in it."""

    id: str
    ceremony_id: str
    number: int
    do: StepKind
    role: str
    person_id: str
    person_name: str
    account_id: str
    login_session_id: str
    factor: str
    done_at: datetime
    result: str = "{}"


@dataclass(frozen=True)
class StepInput:
    """What a person enters in a step. `kcv`: as they see it. `fingerprint`: as they were told it, 32 bytes."""

    kcv: bytes = b""
    fingerprint: bytes = b""
    note: str = ""


def get_next_step(ceremony: Ceremony, script: Script) -> Step | None:
    """The step that is to be done; None when all are."""
    return script.steps[ceremony.position] if ceremony.position < len(script.steps) else None


def check_running(ceremony: Ceremony, now: datetime) -> None:
    """Raise `ceremony.state` unless the ceremony runs and its time is not over."""
    if ceremony.state is not CeremonyState.RUNNING:
        raise KmsError(Code.CEREMONY_STATE, f"The ceremony is {ceremony.state}: start another.")
    if now >= ceremony.deadline:
        raise KmsError(Code.CEREMONY_STATE, "The ceremony's time is over: start another.")


def check_step(
    ceremony: Ceremony, script: Script, number: int, principal: Principal, *, done: Sequence[StepRecord], now: datetime
) -> Step:
    """The step, if this person may do it now. `done`: the ceremony's steps so far.

    Raises `ceremony.state`, `person.not-permitted`.
    """
    check_running(ceremony, now)
    step = get_next_step(ceremony, script)
    if step is None or number != ceremony.position + 1:
        raise KmsError(Code.CEREMONY_STATE, f"Step {ceremony.position + 1} is to be done now: look again.")
    if step.role not in principal.roles:
        raise KmsError(Code.PERSON_NOT_PERMITTED, f"This step is a {step.role}'s.")
    if any(item.number == number and item.person_id == principal.person_id for item in done):
        raise KmsError(Code.CEREMONY_STATE, "You have done this step already: others must do it, too.")
    return step


def check_alone(ceremony: Ceremony, principal: Principal, others: Sequence[tuple[Ceremony, StepRecord]]) -> None:
    """Raise `ceremony.conflict` for a person who takes part in another ceremony that runs. `others`: their steps."""
    for other, item in others:
        if other.id != ceremony.id and item.person_id == principal.person_id and not principal.development:
            raise KmsError(
                Code.CEREMONY_CONFLICT,
                f"You take part in another ceremony ({other.script_name}, {other.key_name}): finish or abort it first.",
            )


def count_missing(step: Step, number: int, done: Sequence[StepRecord]) -> int:
    """How many more people the step takes."""
    mine = [item for item in done if item.number == number]
    if any(item.factor == DEVELOPMENT for item in mine):
        return 0
    return max(step.people - len({item.person_id for item in mine}), 0)


DEVELOPMENT = "development login"
