"""DeleteKeys: an old key set out of a security domain, under the one that took its place.

DELETE goes without first asking whether the old set is still there: an answer that says it went by itself may be
forged, and a DELETE of an absent set does no harm. GET DATA E0 then shows whether it is gone: beyond doubt where the
channel has R-MACs, else only as far as the terminal is to be believed (`Finished.authenticated`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kms.card.channel import ChannelParameters, ChannelState, Handshake, resume_channel
from kms.card.commands import DataTag, build_delete_key, build_get_data, parse_key_information
from kms.card.keys import KeyPort, KeyRole
from kms.card.programs.base import (
    AnswerError,
    Batch,
    Candidate,
    Evidence,
    Finished,
    build_opening,
    card_answers,
    check_secured,
    open_checked,
    parse_answers,
    parse_opening,
    to_bytes,
)
from kms.card.programs.step import Step
from kms.card.status import INS_DELETE, INS_EXTERNAL_AUTHENTICATE, INS_GET_DATA, StatusWord, describe_status


@dataclass(frozen=True)
class DeleteKeys:
    """State of the program: `current` opens the channel, the set of key version `old_kvn` goes.

    `by_kvn`: one DELETE names the version and takes all of its keys; else one DELETE per key (card profile).
    """

    parameters: ChannelParameters
    current: Candidate
    old_kvn: int
    by_kvn: bool = True
    host_challenge: bytes = field(default=b"", repr=False)
    channel: ChannelState | None = None
    kind: Literal["delete-keys"] = "delete-keys"

    @property
    def may_have_changed_card(self) -> bool:
        """Never in a way that leaves a key set in doubt: the old one is deleted again by the next attempt."""
        return False


def start(state: DeleteKeys, keys: KeyPort, host_challenge: bytes, handshake: Handshake | None = None) -> Step:
    """Open the channel, or go on from the one that `handshake` left half open under the current set."""
    if handshake is not None:
        return _delete(state, handshake, keys)
    batch = build_opening(state.parameters, state.current.ref.kvn, host_challenge)
    return Step(state=replace(state, host_challenge=host_challenge), batch=batch)


def advance(state: DeleteKeys, responses: Sequence[bytes], keys: KeyPort) -> Step:
    """Take the next step after the answers to the last batch."""
    if state.channel is not None:
        return _deleted(state, state.channel, responses, keys)
    handshake = parse_opening(responses, state.host_challenge, state.parameters, state.current.ref.kvn)
    return _delete(state, handshake, keys)


def _delete(state: DeleteKeys, handshake: Handshake, keys: KeyPort) -> Step:
    channel = open_checked(keys, state.current, handshake, state.parameters)
    commands = [channel.external_authenticate()]
    commands += [channel.wrap(build_delete_key(state.old_kvn, kid)) for kid in _key_identifiers(state)]
    commands.append(channel.wrap(build_get_data(DataTag.KEY_INFORMATION)))
    return Step(
        state=replace(state, channel=channel.state()),
        batch=Batch(to_bytes(commands)),
        proved=(Evidence(state.current.label, handshake.sequence_counter),),
    )


def _deleted(state: DeleteKeys, opened: ChannelState, responses: Sequence[bytes], keys: KeyPort) -> Step:
    names = ["EXTERNAL AUTHENTICATE", *("DELETE" for _ in _key_identifiers(state)), "GET DATA E0"]
    authenticate, *deletes, information = parse_answers(responses, names)
    channel = resume_channel(keys, opened)
    check_secured(channel, authenticate, names[0], INS_EXTERNAL_AUTHENTICATE)
    said = StatusWord.OK.value
    for delete in deletes:
        if delete is None:
            raise AnswerError("DELETE", "DELETE: no answer from the card")
        with card_answers("DELETE"):
            said = channel.unwrap(delete).sw
    shown = check_secured(channel, information, names[-1], INS_GET_DATA)
    with card_answers(names[-1]):
        versions = {entry.kvn for entry in parse_key_information(shown.data)}
    if state.old_kvn in versions:
        still = f"DELETE: the card still shows key version {state.old_kvn:02X} and answered"
        raise AnswerError("DELETE", f"{still} {describe_status(said, INS_DELETE)}", said)
    return Step(outcome=Finished(authenticated=opened.parameters.level.has_r_mac))


def _key_identifiers(state: DeleteKeys) -> tuple[int | None, ...]:
    """What each DELETE names besides the version: nothing, or one of the three keys."""
    return (None,) if state.by_kvn else tuple(role.kid for role in KeyRole)
