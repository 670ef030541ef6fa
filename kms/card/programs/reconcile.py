"""Reconcile: which key sets are in force on a security domain, found without spending an authentication attempt.

One batch: SELECT, GET DATA E0, and INITIALIZE UPDATE for each candidate key version, the most likely last, so that the
next program can go on with the channel it left half open. Card cryptograms are checked off-line (card-facts section 8).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kms.card.apdu import ResponseApdu
from kms.card.channel import ChannelParameters, Handshake
from kms.card.commands import DataTag, build_get_data, build_select, parse_key_information
from kms.card.keys import KeyPort
from kms.card.programs.base import (
    AnswerError,
    Batch,
    Candidate,
    Evidence,
    MismatchError,
    Reconciled,
    build_question,
    check_answer,
    parse_answers,
    parse_handshake,
    prove,
    to_bytes,
)
from kms.card.programs.step import Step
from kms.card.status import INS_INITIALIZE_UPDATE, StatusWord
from kms.errors import KmsError


@dataclass(frozen=True)
class Reconcile:
    """State of the program. `candidates`: key sets that may be in force, the most likely last.

    A keyless SSD's parent is one of them where the SSD may have no keys of its own. `others`: the parameters of
    candidates whose keys are of another protocol than `parameters`.
    """

    parameters: ChannelParameters
    candidates: tuple[Candidate, ...]
    others: tuple[ChannelParameters, ...] = ()
    host_challenge: bytes = field(default=b"", repr=False)
    kind: Literal["reconcile"] = "reconcile"

    @property
    def may_have_changed_card(self) -> bool:
        """Never: it only asks."""
        return False


def start(state: Reconcile, host_challenge: bytes) -> Step:
    """Build the program's one batch. `host_challenge`: 16 fresh bytes."""
    commands = [build_select(state.parameters.aid), build_get_data(DataTag.KEY_INFORMATION)]
    commands += [build_question(parameters, kvn, host_challenge) for kvn, parameters in _list_questions(state)]
    return Step(state=replace(state, host_challenge=host_challenge), batch=Batch(to_bytes(commands)))


def advance(state: Reconcile, responses: Sequence[bytes], keys: KeyPort) -> Step:
    """Read the answers and say what is in force."""
    questions = _list_questions(state)
    names = ["SELECT", "GET DATA E0", *("INITIALIZE UPDATE" for _ in questions)]
    select, information, *updates = parse_answers(responses, names)
    if select is None:
        raise AnswerError("SELECT", "SELECT: no answer from the card")
    if select.sw != StatusWord.OK:
        # Every answer after a failed SELECT is another security domain's.
        return Step(outcome=Reconciled(present=False, in_force=(), key_versions=None, mismatches=0))
    found = Reconciled(present=True, in_force=(), key_versions=_read_key_versions(information), mismatches=0)
    for question, answer in zip(questions, updates, strict=True):
        found = replace(_try_version(state, found, question, answer, keys), lost=found.lost or answer is None)
    return Step(outcome=found, proved=found.in_force)


Question = tuple[int, ChannelParameters]
"""A key version, and the protocol by which its answer is read."""


def _list_questions(state: Reconcile) -> tuple[Question, ...]:
    """Each candidate key version once for each protocol of its candidates, in the order of its last candidate."""
    questions: dict[Question, None] = {}
    for candidate in state.candidates:
        question = (candidate.ref.kvn, _find_parameters(state, candidate))
        questions.pop(question, None)
        questions[question] = None
    return tuple(questions)


def _find_parameters(state: Reconcile, candidate: Candidate) -> ChannelParameters:
    """The channel under a candidate: triple DES keys open SCP02, AES keys SCP03."""
    scp = 3 if candidate.ref.key_type.is_aes else 2
    return next((item for item in state.others if item.scp == scp), state.parameters)


def _read_key_versions(answer: ResponseApdu | None) -> tuple[int, ...] | None:
    """What GET DATA E0 claims; only a hint, so an unreadable one is none."""
    if answer is None or answer.sw != StatusWord.OK:
        return None
    try:
        return tuple(sorted({entry.kvn for entry in parse_key_information(answer.data)}))
    except KmsError:
        return None


def _try_version(
    state: Reconcile, found: Reconciled, question: Question, answer: ResponseApdu | None, keys: KeyPort
) -> Reconciled:
    """Add what the answer for one key version says: in force, absent, or a cryptogram that fits no candidate."""
    closed = replace(found, opened=None, handshake=None)
    try:
        check_answer(answer, "INITIALIZE UPDATE", INS_INITIALIZE_UPDATE)
    except AnswerError:
        return closed
    kvn, parameters = question
    try:
        handshake = parse_handshake(answer, state.host_challenge, parameters, kvn)
        proof = _find_proof(state, handshake, parameters, keys)
    except MismatchError:
        return replace(closed, mismatches=found.mismatches + 1, strange=(*found.strange, kvn))
    except AnswerError:
        # Not an answer of this protocol or to this question: it says nothing of keys, so it is evidence of nothing.
        return closed
    return replace(closed, in_force=(*found.in_force, proof), opened=proof.label, handshake=handshake)


def _find_proof(state: Reconcile, handshake: Handshake, parameters: ChannelParameters, keys: KeyPort) -> Evidence:
    """The candidate of this key version under which the card cryptogram verifies. Raises MismatchError if none."""
    for candidate in state.candidates:
        if (candidate.ref.kvn, _find_parameters(state, candidate)) == (handshake.kvn, parameters):
            try:
                return prove(keys, candidate, handshake, parameters)
            except MismatchError:
                continue
    raise MismatchError("INITIALIZE UPDATE", f"key version {handshake.kvn:02X} fits no known key set")
