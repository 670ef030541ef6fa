"""ReplaceKeys: a new key set into a security domain under the one it has, proved in the same batch.

The first batch opens the channel (SELECT, INITIALIZE UPDATE); it is left out when the program before left one half
open. The second is EXTERNAL AUTHENTICATE, PUT KEY of three keys, and INITIALIZE UPDATE under the new key version, whose
card cryptogram proves that the new set is in force. A set that PUT KEY cannot name (factory version FF, GP 2.3.1
section 11.8.2.3.1), that is the parent's or that is of another key type is not replaced: the new set is added, and
DeleteKeys takes away what must go. A set of another type is proved by a channel of its own protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kms.card.channel import ChannelParameters, ChannelState, Handshake, resume_channel
from kms.card.commands import build_put_key, check_put_key_response
from kms.card.keys import KeyPort
from kms.card.programs.base import (
    Batch,
    Candidate,
    Evidence,
    Finished,
    Installs,
    build_opening,
    build_question,
    card_answers,
    check_secured,
    open_checked,
    parse_answers,
    parse_handshake,
    parse_opening,
    prove,
    to_bytes,
)
from kms.card.programs.new_keys import build_put_key_fields
from kms.card.programs.step import Step
from kms.card.status import INS_EXTERNAL_AUTHENTICATE, INS_PUT_KEY
from kms.errors import Code, KmsError


@dataclass(frozen=True)
class ReplaceKeys:
    """State of the program. `add`: the new set is added (P1 = 00) instead of replacing the current one.

    `channel` and `installs`: the open channel and the new set's check values, once the installing batch was built.
    `new_parameters`: of the channel that proves the new set, where its keys are of another protocol than the current's.
    """

    parameters: ChannelParameters
    current: Candidate
    new: Candidate
    add: bool = False
    aes_block_form: Literal["long", "short"] = "long"
    host_challenge: bytes = field(default=b"", repr=False)
    channel: ChannelState | None = None
    installs: Installs | None = None
    new_parameters: ChannelParameters | None = None
    kind: Literal["replace-keys"] = "replace-keys"

    @property
    def proving_parameters(self) -> ChannelParameters:
        """The channel under the new set."""
        return self.new_parameters or self.parameters

    @property
    def may_have_changed_card(self) -> bool:
        """Whether the installing batch was built."""
        return self.channel is not None


def start(state: ReplaceKeys, keys: KeyPort, host_challenge: bytes, handshake: Handshake | None = None) -> Step:
    """Open the channel, or go on from the one that `handshake` left half open under the current set."""
    if handshake is not None:
        return _install(state, handshake, host_challenge, keys)
    batch = build_opening(state.parameters, state.current.ref.kvn, host_challenge)
    return Step(state=replace(state, host_challenge=host_challenge), batch=batch)


def advance(state: ReplaceKeys, responses: Sequence[bytes], keys: KeyPort, host_challenge: bytes) -> Step:
    """Take the next step after the answers to the last batch."""
    if state.channel is not None and state.installs is not None:
        return _installed(state, state.channel, state.installs, responses, keys)
    handshake = parse_opening(responses, state.host_challenge, state.parameters, state.current.ref.kvn)
    return _install(state, handshake, host_challenge, keys)


def _install(state: ReplaceKeys, handshake: Handshake, host_challenge: bytes, keys: KeyPort) -> Step:
    new = state.new
    if not state.add and new.ref.key_type is not state.current.ref.key_type:
        # PUT KEY replaces a key by one of its own algorithm and length (GP 2.3.1 section 7.5.1; ADR 0073).
        raise KmsError(
            Code.INPUT_INVALID,
            f"a {state.current.ref.key_type} set is not replaced by a {new.ref.key_type} one:"
            " add the new set, prove it, then delete the old one",
        )
    channel = open_checked(keys, state.current, handshake, state.parameters)
    fields, installs = build_put_key_fields(keys, channel, new.ref, new.label, state.aes_block_form)
    existing = None if state.add else state.current.ref.kvn
    commands = (
        channel.external_authenticate(),
        channel.wrap(build_put_key(existing, new.ref.kvn, fields)),
        build_question(state.proving_parameters, new.ref.kvn, host_challenge),
    )
    after = replace(state, host_challenge=host_challenge, channel=channel.state(), installs=installs)
    proof = Evidence(state.current.label, handshake.sequence_counter)
    return Step(state=after, batch=Batch(to_bytes(commands), installs), proved=(proof,))


def _installed(
    state: ReplaceKeys, opened: ChannelState, installs: Installs, responses: Sequence[bytes], keys: KeyPort
) -> Step:
    names = ("EXTERNAL AUTHENTICATE", "PUT KEY", "INITIALIZE UPDATE")
    authenticate, put_key, update = parse_answers(responses, names)
    channel = resume_channel(keys, opened)
    check_secured(channel, authenticate, names[0], INS_EXTERNAL_AUTHENTICATE)
    answer = check_secured(channel, put_key, names[1], INS_PUT_KEY)
    with card_answers(names[1]):
        check_put_key_response(answer.data, state.new.ref.kvn, installs.kcvs)
    handshake = parse_handshake(update, state.host_challenge, state.proving_parameters, state.new.ref.kvn)
    proof = prove(keys, state.new, handshake, state.proving_parameters)
    return Step(outcome=Finished(handshake), proved=(proof,))
