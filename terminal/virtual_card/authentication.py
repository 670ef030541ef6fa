"""INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, BEGIN and END R-MAC SESSION (GP231 appendix E.5, Amendment D 7.1).

The key set says which protocol is spoken: one of DES keys SCP02, one of AES keys SCP03.
"""

from dataclasses import replace

from terminal.virtual_card import scp02, scp03
from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.model import (
    MAX_SEQUENCE_COUNTER_SCP02,
    MAX_SEQUENCE_COUNTER_SCP03,
    CardState,
    KeySet,
    SecurityDomain,
)
from terminal.virtual_card.session import CardRuntime, Handshake
from terminal.virtual_card.status import (
    AUTHENTICATION_BLOCKED,
    CONDITIONS_NOT_SATISFIED,
    REFERENCED_DATA_NOT_FOUND,
    WRONG_LENGTH,
    WRONG_P1P2,
    CardError,
    SecureMessagingError,
)


def find_scp_i(state: CardState, key_set: KeySet) -> int | None:
    """Return the parameter i of the protocol that the set's keys belong to; None if the card does not speak it."""
    if key_set.is_scp02_set:
        return state.scp02_i
    return state.scp03_i if key_set.is_scp03_set else None


def find_default_key_set(state: CardState, owner: SecurityDomain) -> KeySet | None:
    """Return the set that key version number 00 stands for: the first that can open a channel."""
    return next((key_set for key_set in owner.key_sets if find_scp_i(state, key_set) is not None), None)


def _get_key_set(state: CardState, owner: SecurityDomain, kvn: int) -> KeySet:
    key_set = owner.find_key_set(kvn) if kvn else find_default_key_set(state, owner)
    if key_set is None or not key_set.has_scp_keys:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    return key_set


def open_handshake(runtime: CardRuntime, key_set: KeySet, owner: SecurityDomain, host_challenge: bytes) -> Handshake:
    """Begin a session of the protocol that the key set belongs to; raise CardError 6985 where the card speaks none."""
    scp_i = find_scp_i(runtime.state, key_set)
    if scp_i is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if key_set.is_scp02_set:
        return _open_scp02(runtime, key_set, owner, scp_i, host_challenge)
    return _open_scp03(runtime, key_set, owner, scp_i, host_challenge)


def _open_scp02(
    runtime: CardRuntime, key_set: KeySet, owner: SecurityDomain, scp_i: int, host_challenge: bytes
) -> Handshake:
    if key_set.sequence_counter >= MAX_SEQUENCE_COUNTER_SCP02:
        raise CardError(CONDITIONS_NOT_SATISFIED)  # GP231 E.1.2.3: the counter never wraps
    if scp_i & scp02.I_PSEUDO_RANDOM:
        # The AID is that of the domain that was asked, also when the keys are its parent's (GP231 E.4.2.3).
        card_challenge = scp02.compute_card_challenge(key_set, runtime.selected_aid)
    else:
        card_challenge = runtime.random_bytes(6)
    return scp02.Scp02Handshake(owner.aid, key_set, scp_i, host_challenge, card_challenge)


def _open_scp03(
    runtime: CardRuntime, key_set: KeySet, owner: SecurityDomain, scp_i: int, host_challenge: bytes
) -> Handshake:
    if not scp_i & scp03.I_PSEUDO_RANDOM:
        card_challenge = runtime.random_bytes(scp03.get_size(scp_i))
        return scp03.Scp03Handshake(owner.aid, key_set, scp_i, host_challenge, card_challenge)
    if key_set.sequence_counter >= MAX_SEQUENCE_COUNTER_SCP03:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    # Amendment D 6.2.2: the counter moves before it is used, at every INITIALIZE UPDATE that is answered.
    counted = replace(key_set, sequence_counter=key_set.sequence_counter + 1)
    card_challenge = scp03.compute_card_challenge(counted, scp_i, runtime.selected_aid)
    handshake = scp03.Scp03Handshake(owner.aid, counted, scp_i, host_challenge, card_challenge)
    runtime.state = runtime.state.with_domain(owner.with_key_set(counted))
    return handshake


def initialize_update(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """End any session and begin a new one; P1 is the key version number, 00 the default."""
    runtime.close_session()
    if command.p2:
        raise CardError(WRONG_P1P2)
    state = runtime.state
    owner = state.get_key_owner(runtime.selected)
    limit = runtime.personality.max_failed_authentications
    if limit and owner.failed_authentications >= limit:
        raise CardError(AUTHENTICATION_BLOCKED)
    key_set = _get_key_set(state, owner, command.p1)
    runtime.handshake = open_handshake(runtime, key_set, owner, command.data)
    return runtime.handshake.build_response(state.kdd)


def external_authenticate(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Verify C-MAC, then host cryptogram; success opens the channel. A failure costs the handshake."""
    handshake = runtime.handshake
    runtime.handshake = None
    if handshake is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if len(command.data) != handshake.authentication_length:
        raise CardError(WRONG_LENGTH)
    if command.p2:
        raise CardError(WRONG_P1P2)
    handshake.check_level(command.p1)
    try:
        handshake.check_mac(command)
        if handshake.counts_first_mac:
            _count_session(runtime, handshake)
        runtime.channel = handshake.open_channel(command)
    except CardError:
        _set_failures(runtime, handshake.owner_aid, failed=True)
        raise
    _set_failures(runtime, handshake.owner_aid, failed=False)
    return b""


def _get_owner(runtime: CardRuntime, aid: bytes) -> SecurityDomain:
    owner = runtime.state.find_domain(aid)
    if owner is None:
        raise SecureMessagingError
    return owner


def _count_session(runtime: CardRuntime, handshake: Handshake) -> None:
    owner = _get_owner(runtime, handshake.owner_aid)
    key_set = _get_key_set(runtime.state, owner, handshake.kvn)
    counted = replace(key_set, sequence_counter=key_set.sequence_counter + 1)
    runtime.state = runtime.state.with_domain(owner.with_key_set(counted))


def _set_failures(runtime: CardRuntime, owner_aid: bytes, *, failed: bool) -> None:
    owner = _get_owner(runtime, owner_aid)
    count = owner.failed_authentications + 1 if failed else 0
    if count != owner.failed_authentications and (runtime.personality.max_failed_authentications or not failed):
        runtime.state = runtime.state.with_domain(replace(owner, failed_authentications=count))


def begin_r_mac_session(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Protect responses from the next command on (P2 01; data are a challenge behind its length, or absent)."""
    if command.p2 != 0x01:
        raise CardError(WRONG_P1P2)
    if command.data and command.data[0] != len(command.data) - 1:
        raise CardError(WRONG_LENGTH)
    if runtime.channel is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    runtime.channel.begin_r_mac(command.p1)
    return b""


def end_r_mac_session(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Stop protecting responses after this one (P1 00; P2 as the protocol says)."""
    if command.p1:
        raise CardError(WRONG_P1P2)
    if command.data:
        raise CardError(WRONG_LENGTH)
    if runtime.channel is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    runtime.channel.end_r_mac(command.p2)
    return b""
