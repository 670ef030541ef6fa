"""Actions of ceremonies. Key components are never parameters: custodians enter them in single-use processes alone."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.ceremonies import StepInput, Subject
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.action_definitions.forms import Fingerprint, Name, Why, say_bytes
from kms.service.actions import ActionDefinition, Parameters, Performer
from kms.service.ceremonies.service import CeremonyService, CeremonyView
from kms.service.ceremonies.words import build_words
from kms.service.plain_values import build_record

Kcv = Annotated[bytes, Field(max_length=5)]
Empty = Annotated[bytes, Field(max_length=32)]


class StartCeremony(Parameters):
    """`digest`: SHA-256 of the script as it was read. The rest: what it is about (`kms.domain.ceremonies.Subject`)."""

    script: Name
    digest: Fingerprint
    key_name: Name
    generation: Annotated[int, Field(ge=1)] | None = None
    expected_kcv: Kcv = b""
    valid_days: Annotated[int, Field(ge=1, le=36_600)] | None = None
    because: Annotated[str, Field(max_length=500)] = ""
    peer_file: Annotated[str, Field(max_length=65_536)] = ""


class DoStep(Parameters):
    """One's part in a step. `number`: of the step as seen, from 1. `kcv`, `fingerprint`: where they are asked for."""

    ceremony: Name
    number: Annotated[int, Field(ge=1)]
    kcv: Kcv = b""
    fingerprint: Empty = b""
    note: Annotated[str, Field(max_length=2000)] = ""


class AbortCeremony(Parameters):
    """A ceremony to end."""

    ceremony: Name
    why: Why


def define_ceremonies(ceremonies: CeremonyService) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of ceremonies.*."""

    def start(given: StartCeremony, by: Performer, *, rehearsal: bool) -> dict[str, object]:
        view = ceremonies.start(given.script, given.digest, _build_subject(given), actor=by.actor, rehearsal=rehearsal)
        return build_view_record(view)

    def step(given: DoStep, by: Performer) -> dict[str, object]:
        if by.principal is None:
            raise KmsError(Code.LOGIN_NEEDED, "A step is done by the person who is logged in.")
        entered = StepInput(given.kcv, given.fingerprint, given.note)
        return build_view_record(ceremonies.act(by.principal, given.ceremony, given.number, entered))

    return (
        ActionDefinition(
            Action.CEREMONIES_START,
            StartCeremony,
            lambda given: f"Hold the ceremony {_describe(given)}",
            lambda given, by: start(given, by, rehearsal=False),
        ),
        ActionDefinition(
            Action.CEREMONIES_REHEARSE,
            StartCeremony,
            lambda given: f"Rehearse the ceremony {_describe(given)}",
            lambda given, by: start(given, by, rehearsal=True),
        ),
        ActionDefinition(
            Action.CEREMONIES_STEP,
            DoStep,
            lambda given: f"Do step {given.number} of the ceremony {given.ceremony}.",
            step,
        ),
        ActionDefinition(
            Action.CEREMONIES_ABORT,
            AbortCeremony,
            lambda given: f"Abort the ceremony {given.ceremony}: {given.why}",
            lambda given, by: build_record(ceremonies.abort(given.ceremony, actor=by.actor, why=given.why)),
        ),
    )


def build_view_record(view: CeremonyView) -> dict[str, object]:
    """A ceremony to look at: what it is, what was done, and what comes next."""
    ceremony, step = view.ceremony, view.next_step
    shown = build_record(ceremony)
    for name in ("script", "peer_file", "pair_id", "pair_public", "version"):
        del shown[name]
    return {
        **shown,
        "purpose": view.script.purpose,
        "words": " ".join(view.words),
        "next_step": view.next_number if step is not None else None,
        "next_do": step.do if step is not None else None,
        "next_role": step.role if step is not None else None,
        "next_text": step.text if step is not None else None,
        "people_awaited": view.missing,
        "components": [
            {"number": item.number, "custodian": item.person_name, "kcv": item.kcv, "kcv_method": item.kcv_method}
            for item in view.components
        ],
        "steps": [
            {
                "number": item.number,
                "do": item.do,
                "person": item.person_name,
                "second_factor": item.factor,
                "done_at": item.done_at,
                "result": item.result,
            }
            for item in view.steps
        ],
    }


def _build_subject(given: StartCeremony) -> Subject:
    return Subject(
        key_name=given.key_name,
        generation=given.generation,
        expected_kcv=given.expected_kcv,
        valid_days=given.valid_days,
        because=given.because,
        peer_file=given.peer_file,
    )


def _describe(given: StartCeremony) -> str:
    text = f"{given.script} (hash {say_bytes(given.digest)}, in words: {' '.join(build_words(given.digest))})"
    text += f" for the key {given.key_name}"
    if given.generation is not None:
        text += f" generation {given.generation}"
    if given.expected_kcv:
        text += f", expected check value {say_bytes(given.expected_kcv)}"
    if given.valid_days is not None:
        text += f", to issue key sets for {given.valid_days} days"
    if given.peer_file:
        text += ", with the file that the peer sent"
    return f"{text}. Because: {given.because}" if given.because else f"{text}."
