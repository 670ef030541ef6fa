"""Program states as JSON and back, and the one way to take any of them a step further.

The JSON is stored with the visit. It holds references to keys, challenges, public wire values and check values, never a
key; of a set that a peer handed over, its keys as the peer's HSM wrapped them for ours. It is read back strictly.
"""

from collections.abc import Sequence
from typing import Annotated, assert_never

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from kms.card.channel import Handshake
from kms.card.keys import KeyPort
from kms.card.programs import create_ssd, delete_keys, probe, recognize, reconcile, replace_keys
from kms.card.programs.base import AnswerError
from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.probe import Probe
from kms.card.programs.recognize import Recognize
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.step import Step
from kms.errors import Code, KmsError

KeyProgram = CreateSsd | ReplaceKeys | DeleteKeys | Reconcile | Probe
"""Programs that know key sets."""

ProgramState = KeyProgram | Recognize

_JSON = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex", extra="forbid")
_STATE: TypeAdapter[ProgramState] = TypeAdapter(Annotated[ProgramState, Field(discriminator="kind")], config=_JSON)


def dump_state(state: ProgramState) -> str:
    """The state as JSON."""
    return _STATE.dump_json(state).decode()


def load_state(text: str) -> ProgramState:
    """Read `dump_state`'s JSON back. Raises `visit.conflict` for anything else."""
    try:
        return _STATE.validate_json(text)
    except ValidationError as error:
        raise KmsError(
            Code.VISIT_CONFLICT, "the visit's stored program cannot be read by this version; the visit starts again"
        ) from error


def start(state: ProgramState, keys: KeyPort, host_challenge: bytes, handshake: Handshake | None = None) -> Step:
    """Begin a program. `host_challenge`: 16 fresh bytes; `handshake`: a half open channel of its current key set."""
    try:
        if isinstance(state, Recognize):
            return recognize.start(state)
        return _start(state, keys, host_challenge, handshake)
    except AnswerError as error:
        return Step(outcome=error.outcome(changed=state.may_have_changed_card))


def advance(state: ProgramState, responses: Sequence[bytes], keys: KeyPort, host_challenge: bytes) -> Step:
    """Take the next step. `responses`: one per command of the last batch, empty bytes for one that did not come."""
    try:
        if isinstance(state, Recognize):
            return recognize.advance(responses)
        return _advance(state, responses, keys, host_challenge)
    except AnswerError as error:
        return Step(outcome=error.outcome(changed=state.may_have_changed_card))


def _start(state: KeyProgram, keys: KeyPort, host_challenge: bytes, handshake: Handshake | None) -> Step:
    match state:
        case CreateSsd():
            return create_ssd.start(state, keys, host_challenge, handshake)
        case ReplaceKeys():
            return replace_keys.start(state, keys, host_challenge, handshake)
        case DeleteKeys():
            return delete_keys.start(state, keys, host_challenge, handshake)
        case Reconcile():
            return reconcile.start(state, host_challenge)
        case Probe():
            return probe.start(state, host_challenge)
        case _:
            assert_never(state)


def _advance(state: KeyProgram, responses: Sequence[bytes], keys: KeyPort, host_challenge: bytes) -> Step:
    match state:
        case CreateSsd():
            return create_ssd.advance(state, responses, keys, host_challenge)
        case ReplaceKeys():
            return replace_keys.advance(state, responses, keys, host_challenge)
        case DeleteKeys():
            return delete_keys.advance(state, responses, keys)
        case Reconcile():
            return reconcile.advance(state, responses, keys)
        case Probe():
            return probe.advance(state, responses, keys)
        case _:
            assert_never(state)
