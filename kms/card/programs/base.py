"""What every program shares: steps, batches, outcomes, and the reading of answers.

Rules:
- A program is a frozen state; `advance` turns the state and the answers to its last batch into a `Step`. The only
  effect is the use of keys through the port. Challenges are inputs.
- A batch is safe even if every command of it is sent whatever the one before answered.
- Every answer may be forged. Only a card cryptogram under a key set proves anything, and only if every command before
  it in its batch succeeded (DESIGN section 3).
- Errors raised in a program mean that a rule of the product was broken (`hsm.*`, `key.*`); what a card or terminal did
  wrong is an `Outcome`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from kms.card.apdu import CommandApdu, ResponseApdu, find_response
from kms.card.channel import (
    ChannelParameters,
    Handshake,
    SecureChannel,
    check_card_cryptogram,
    get_host_challenge_length,
    open_channel,
    parse_initialize_update,
)
from kms.card.commands import build_initialize_update, build_select
from kms.card.keys import KcvMethod, KeyPort, KeySetRef, KeyType
from kms.card.status import INS_INITIALIZE_UPDATE, INS_SELECT, StatusWord, describe_status
from kms.errors import Code, KmsError


@dataclass(frozen=True)
class Candidate:
    """A key set that may be on the card. `label` names it for the caller (its row's id)."""

    label: str
    ref: KeySetRef


@dataclass(frozen=True)
class Installs:
    """A key set that a batch may put on the card; to be recorded before the batch leaves. `kcvs`: 3 bytes each."""

    label: str
    kcvs: tuple[bytes, ...]
    kcv_method: KcvMethod


@dataclass(frozen=True)
class Batch:
    """Command APDUs to be sent in order, with what they may change on the card, for the write-ahead.

    `installs`: the key set they may put in; `makes_domain`: they may make the security domain.
    """

    commands: tuple[bytes, ...] = field(repr=False)
    installs: Installs | None = None
    makes_domain: bool = False


@dataclass(frozen=True)
class Evidence:
    """A valid card cryptogram: the key set `label` is in force, and its sequence counter then was `counter`."""

    label: str
    counter: int


@dataclass(frozen=True)
class Finished:
    """The program did its work. `handshake`: the channel the last INITIALIZE UPDATE left half open, to go on from.

    `authenticated`: R-MACs of the channel protect the answers that say so; without them anybody can have said it.
    """

    handshake: Handshake | None = None
    authenticated: bool = False
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True)
class Broken:
    """The program cannot go on. `refused`: the card (or who answers for it) said no with `sw`; else the answer is lost.

    `at`: the command; `changed`: a batch that may have changed the card had left: its key set is in doubt; `foreign`:
    the security domain to be made is there already and is not ours.
    """

    reason: str
    at: str
    changed: bool
    sw: int | None = None
    foreign: bool = False
    kind: Literal["broken"] = "broken"

    @property
    def refused(self) -> bool:
        """Whether a status word says why."""
        return self.sw is not None


@dataclass(frozen=True)
class Mismatch:
    """A card cryptogram fits no candidate key set: nothing is authenticated; evidence against terminal or card."""

    reason: str
    changed: bool
    kind: Literal["mismatch"] = "mismatch"


@dataclass(frozen=True)
class Reconciled:
    """What Reconcile found. `present`: SELECT succeeded. `in_force`: candidates whose cryptogram was valid.

    `key_versions`: key version numbers that GET DATA E0 claims (unproved), None when it was refused.
    `handshake`: of `opened`, the candidate answered by the batch's last command, to go on from. `strange`: key versions
    whose cryptogram fits no candidate.
    """

    present: bool
    in_force: tuple[Evidence, ...]
    key_versions: tuple[int, ...] | None
    mismatches: int
    opened: str | None = None
    handshake: Handshake | None = None
    lost: bool = False
    strange: tuple[int, ...] = ()
    kind: Literal["reconciled"] = "reconciled"


@dataclass(frozen=True)
class Probed:
    """What Probe found. Fields as in `Reconciled`; `lost`: an answer is missing, so nothing follows from silence."""

    present: bool
    in_force: tuple[Evidence, ...]
    key_versions: tuple[int, ...] | None
    strange: tuple[int, ...]
    lost: bool
    kind: Literal["probed"] = "probed"


@dataclass(frozen=True)
class Recognized:
    """What a card says of itself, unproved. `protocols`: (protocol, "i") of each it speaks, None where it does not say.

    `set_types`: (key version, type) of the ISD's key sets, as far as GET DATA E0 shows them.
    """

    protocols: tuple[tuple[int, int], ...] | None
    set_types: tuple[tuple[int, KeyType], ...] = ()
    kind: Literal["recognized"] = "recognized"


Outcome = Finished | Broken | Mismatch | Reconciled | Probed | Recognized


class AnswerError(Exception):
    """Inside the programs: an answer that ends the program. `state.advance` turns it into an outcome."""

    def __init__(self, at: str, reason: str, sw: int | None = None) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason
        self.sw = sw

    def outcome(self, *, changed: bool) -> Broken | Mismatch:
        """The outcome it means."""
        return Broken(reason=self.reason, at=self.at, changed=changed, sw=self.sw)


class ForeignDomainError(AnswerError):
    """Inside the programs: the security domain to be made is on the card, and nothing of ours made it."""

    def outcome(self, *, changed: bool) -> Broken:
        """The outcome it means."""
        return Broken(reason=self.reason, at=self.at, changed=changed, sw=self.sw, foreign=True)


class MismatchError(AnswerError):
    """Inside the programs: a card cryptogram that does not fit the key set."""

    def outcome(self, *, changed: bool) -> Mismatch:
        """The outcome it means."""
        return Mismatch(reason=self.reason, changed=changed)


# A wrong challenge under a right cryptogram is among them: the card has our keys, and its profile or AID is wrong or
# another security domain was selected; that speaks against neither card nor terminal (docs/adr/0012).
CARD_FAULTS = frozenset(
    {
        Code.CARD_PROTOCOL,
        Code.CHALLENGE_MISMATCH,
        Code.TLV_INVALID,
        Code.APDU_INVALID,
        Code.RESPONSE_MAC_MISMATCH,
    }
)


@contextmanager
def card_answers(at: str) -> Iterator[None]:
    """Turn errors that speak of what the card answered into AnswerError; others (`hsm.*`, `key.*`) pass."""
    try:
        yield
    except KmsError as error:
        if error.code is Code.CRYPTOGRAM_MISMATCH:
            raise MismatchError(at, error.detail) from error
        if error.code in CARD_FAULTS:
            raise AnswerError(at, f"{at}: {error.detail}") from error
        raise


def parse_answers(responses: Sequence[bytes], names: Sequence[str]) -> tuple[ResponseApdu | None, ...]:
    """Parse the answers to a batch of the named commands; None where an answer was not available.

    Raises AnswerError when their number differs from the commands' or one is not a response APDU.
    """
    if len(responses) != len(names):
        at = names[min(len(responses), len(names) - 1)]
        raise AnswerError(at, f"{len(responses)} answers to {len(names)} commands")
    answers: list[ResponseApdu | None] = []
    for name, response in zip(names, responses, strict=True):
        with card_answers(name):
            answers.append(find_response(response))
    return tuple(answers)


def check_answer(answer: ResponseApdu | None, at: str, ins: int, *accepted: int) -> ResponseApdu:
    """Return the answer when its status word is 9000 or one of `accepted`; raises AnswerError otherwise."""
    if answer is None:
        raise AnswerError(at, f"{at}: no answer from the card")
    if answer.sw != StatusWord.OK and answer.sw not in accepted:
        raise AnswerError(at, f"{at}: the card answered {describe_status(answer.sw, ins)}", answer.sw)
    return answer


def check_secured(
    channel: SecureChannel, answer: ResponseApdu | None, at: str, ins: int, *accepted: int
) -> ResponseApdu:
    """The same for the answer to the channel's oldest unanswered command, with its R-MAC checked where there is one."""
    if answer is not None:
        with card_answers(at):
            answer = channel.unwrap(answer)
    return check_answer(answer, at, ins, *accepted)


def parse_handshake(
    answer: ResponseApdu | None, host_challenge: bytes, parameters: ChannelParameters, kvn: int
) -> Handshake:
    """Read an INITIALIZE UPDATE answer made under key version `kvn`. Raises AnswerError for any other."""
    at = "INITIALIZE UPDATE"
    ok = check_answer(answer, at, INS_INITIALIZE_UPDATE)
    with card_answers(at):
        handshake = parse_initialize_update(ok.data, take_challenge(host_challenge, parameters), parameters.scp)
    if handshake.kvn != kvn:
        raise AnswerError(at, f"{at}: asked for key version {kvn:02X}, the card answered for {handshake.kvn:02X}")
    return handshake


def take_challenge(host_challenge: bytes, parameters: ChannelParameters) -> bytes:
    """The bytes of a program's host challenge that this protocol and option use: the first 8, or 16.

    Raises `input.invalid` when there are fewer.
    """
    length = get_host_challenge_length(parameters)
    if len(host_challenge) < length:
        raise KmsError(Code.INPUT_INVALID, f"a host challenge of {length} bytes is needed; {len(host_challenge)} came")
    return host_challenge[:length]


def build_question(parameters: ChannelParameters, kvn: int, host_challenge: bytes) -> CommandApdu:
    """INITIALIZE UPDATE as a channel of these parameters begins with it."""
    return build_initialize_update(kvn, take_challenge(host_challenge, parameters))


def build_opening(parameters: ChannelParameters, kvn: int, host_challenge: bytes) -> Batch:
    """The batch that selects a security domain and asks for its challenge under a key version."""
    return Batch(to_bytes((build_select(parameters.aid), build_question(parameters, kvn, host_challenge))))


def parse_opening(
    responses: Sequence[bytes], host_challenge: bytes, parameters: ChannelParameters, kvn: int
) -> Handshake:
    """Read the answers to `build_opening`'s batch."""
    select, update = parse_answers(responses, ("SELECT", "INITIALIZE UPDATE"))
    check_answer(select, "SELECT", INS_SELECT)
    return parse_handshake(update, host_challenge, parameters, kvn)


def open_checked(
    keys: KeyPort, candidate: Candidate, handshake: Handshake, parameters: ChannelParameters
) -> SecureChannel:
    """Open a channel under a candidate. Raises MismatchError when the card cryptogram does not fit it."""
    with card_answers("INITIALIZE UPDATE"):
        return open_channel(keys, candidate.ref, handshake, parameters)


def prove(keys: KeyPort, candidate: Candidate, handshake: Handshake, parameters: ChannelParameters) -> Evidence:
    """Check that the candidate is in force. Raises MismatchError when the card cryptogram does not fit it."""
    with card_answers("INITIALIZE UPDATE"):
        check_card_cryptogram(keys, candidate.ref, handshake, parameters)
    return Evidence(candidate.label, handshake.sequence_counter)


def to_bytes(commands: Sequence[CommandApdu]) -> tuple[bytes, ...]:
    """The commands as they go to the card."""
    return tuple(command.to_bytes() for command in commands)
