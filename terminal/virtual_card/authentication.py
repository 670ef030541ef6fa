"""INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, BEGIN and END R-MAC SESSION (GP231 appendix E.5)."""

from dataclasses import replace

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.model import MAX_SEQUENCE_COUNTER, KeySet, SecurityDomain
from terminal.virtual_card.scp02 import I_PSEUDO_RANDOM, Scp02Handshake, compute_card_challenge
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


def _is_scp02_set(key_set: KeySet) -> bool:
    return key_set.has_scp_keys and all(key.is_des and len(key.value) == 16 for key in key_set.scp_keys)


def find_default_key_set(owner: SecurityDomain) -> KeySet | None:
    """Return the set that key version number 00 stands for: the first that can open a channel."""
    return next((key_set for key_set in owner.key_sets if _is_scp02_set(key_set)), None)


def _get_key_set(owner: SecurityDomain, kvn: int) -> KeySet:
    key_set = owner.find_key_set(kvn) if kvn else find_default_key_set(owner)
    if key_set is None or not key_set.has_scp_keys:
        raise CardError(REFERENCED_DATA_NOT_FOUND)
    if not _is_scp02_set(key_set):
        raise CardError(CONDITIONS_NOT_SATISFIED)  # AES keys serve SCP03 only
    return key_set


def open_handshake(runtime: CardRuntime, key_set: KeySet, owner: SecurityDomain, command: CommandApdu) -> Handshake:
    """Begin a session of the protocol that the key set belongs to."""
    scp_i = runtime.state.scp_i
    if scp_i & I_PSEUDO_RANDOM:
        # The AID is that of the domain that was asked, also when the keys are its parent's (GP231 E.4.2.3).
        card_challenge = compute_card_challenge(key_set, runtime.selected_aid)
    else:
        card_challenge = runtime.random_bytes(6)
    return Scp02Handshake(owner.aid, key_set, scp_i, command.data, card_challenge)


def initialize_update(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """End any session and begin a new one; P1 is the key version number, 00 the default."""
    runtime.close_session()
    if len(command.data) != 8:
        raise CardError(WRONG_LENGTH)
    if command.p2:
        raise CardError(WRONG_P1P2)
    state = runtime.state
    owner = state.get_key_owner(runtime.selected)
    limit = runtime.personality.max_failed_authentications
    if limit and owner.failed_authentications >= limit:
        raise CardError(AUTHENTICATION_BLOCKED)
    key_set = _get_key_set(owner, command.p1)
    if key_set.sequence_counter >= MAX_SEQUENCE_COUNTER:
        raise CardError(CONDITIONS_NOT_SATISFIED)  # GP231 E.1.2.3: the counter never wraps
    runtime.handshake = open_handshake(runtime, key_set, owner, command)
    return runtime.handshake.build_response(state.kdd)


def external_authenticate(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Verify C-MAC, then host cryptogram; success opens the channel. A failure costs the handshake."""
    handshake = runtime.handshake
    runtime.handshake = None
    if handshake is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if len(command.data) != 16:
        raise CardError(WRONG_LENGTH)
    if command.p2:
        raise CardError(WRONG_P1P2)
    handshake.check_level(command.p1)
    try:
        handshake.check_mac(command)
        # GP231 E.1.2.3: the first C-MAC that verifies in a session moves the counter, whatever comes next.
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
    key_set = _get_key_set(owner, handshake.kvn)
    counted = replace(key_set, sequence_counter=key_set.sequence_counter + 1)
    runtime.state = runtime.state.with_domain(owner.with_key_set(counted))


def _set_failures(runtime: CardRuntime, owner_aid: bytes, *, failed: bool) -> None:
    owner = _get_owner(runtime, owner_aid)
    count = owner.failed_authentications + 1 if failed else 0
    if count != owner.failed_authentications and (runtime.personality.max_failed_authentications or not failed):
        runtime.state = runtime.state.with_domain(replace(owner, failed_authentications=count))


def begin_r_mac_session(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Protect responses from the next command on (P1 10, P2 01; data are a challenge behind its length, or absent)."""
    if (command.p1, command.p2) != (0x10, 0x01):
        raise CardError(WRONG_P1P2)
    if command.data and command.data[0] != len(command.data) - 1:
        raise CardError(WRONG_LENGTH)
    if runtime.channel is None:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    runtime.channel.begin_r_mac()
    return b""


def end_r_mac_session(runtime: CardRuntime, command: CommandApdu) -> bytes:
    """Stop protecting responses after this one (P1 00, P2 03), or only ask for one more R-MAC (P2 01)."""
    if command.p1 or command.p2 not in {0x01, 0x03}:
        raise CardError(WRONG_P1P2)
    if command.data:
        raise CardError(WRONG_LENGTH)
    if runtime.channel is None or not runtime.channel.has_r_mac:
        raise CardError(CONDITIONS_NOT_SATISFIED)
    if command.p2 == 0x03:
        runtime.channel.end_r_mac()
    return b""
