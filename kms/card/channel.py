"""Secure channels as programs use them, whichever protocol the card speaks.

Rules: a program calls nothing but this module; the protocol number in the parameters picks the implementation. All is
computed from values and the key port: no answer is needed between the commands of a batch. A channel lives as long as
its key scope; `state()` is what outlives it, and `resume_channel` derives the session keys again (DESIGN section 3).
"""

from collections.abc import Mapping
from typing import Protocol

from kms.card import scp02, scp03
from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import KeyHandle, KeyPort, KeySetRef
from kms.errors import Code, KmsError

__all__ = [
    "MAX_HOST_CHALLENGE",
    "OPTIONS",
    "ChannelParameters",
    "ChannelState",
    "Handshake",
    "SecureChannel",
    "SecurityLevel",
    "check_card_cryptogram",
    "check_protocol",
    "get_host_challenge_length",
    "get_max_command_data",
    "open_channel",
    "parse_initialize_update",
    "resume_channel",
]

OPTIONS: Mapping[int, frozenset[int]] = {2: scp02.OPTIONS, 3: scp03.OPTIONS}
"""The options "i" that are implemented, by protocol."""

MAX_HOST_CHALLENGE = 16
"""Fresh bytes that serve for every protocol and option; `get_host_challenge_length` of them are used."""


class SecureChannel(Protocol):
    """One secure channel to a security domain, bound to the key scope that opened or resumed it."""

    def external_authenticate(self) -> CommandApdu:
        """Build EXTERNAL AUTHENTICATE, the channel's first command; a second call raises `input.conflict`."""
        ...

    def wrap(self, command: CommandApdu) -> CommandApdu:
        """Protect the next command as the security level asks; its Le stays.

        Raises `card.apdu-invalid` for a class byte that cannot be protected or data that leaves no room for the MAC,
        and `input.conflict` before EXTERNAL AUTHENTICATE.
        """
        ...

    def unwrap(self, response: ResponseApdu) -> ResponseApdu:
        """Check and strip the answer to the oldest unanswered command, EXTERNAL AUTHENTICATE's included.

        Without R-MAC the response comes back as it is: anybody can have written it. With R-MAC a wrong or missing one
        raises `card.response-mac-mismatch`, and the channel is dead. A bare error status word is handed back though
        nothing protects it: it is never evidence. An answer that no command waits for raises `input.conflict`.
        """
        ...

    def wrap_key(self, key: KeyHandle) -> bytes:
        """Encrypt a PAYLOAD key's value under the data encryption key, as PUT KEY and STORE DATA want it.

        Padded to whole blocks of the data encryption key: 24-byte keys under AES come out as 32 bytes.
        """
        ...

    def state(self) -> ChannelState:
        """Give the state from which `resume_channel` goes on."""
        ...


def parse_initialize_update(data: bytes, host_challenge: bytes, scp: int) -> Handshake:
    """Parse the data of a successful INITIALIZE UPDATE response (without the status word).

    `host_challenge`: as it was sent. Raises `card.protocol-violation` for a wrong length or protocol marker,
    `input.invalid` for an unknown protocol.
    """
    check_protocol(scp)
    if scp == 2:
        return scp02.parse_initialize_update(data, host_challenge)
    return scp03.parse_initialize_update(data, host_challenge)


def get_host_challenge_length(parameters: ChannelParameters) -> int:
    """Get how many bytes of host challenge INITIALIZE UPDATE takes: 8, in SCP03's S16 mode 16."""
    check_protocol(parameters.scp)
    return scp02.HOST_CHALLENGE_LENGTH if parameters.scp == 2 else scp03.get_mac_length(parameters.i)


def get_max_command_data(parameters: ChannelParameters) -> int:
    """Get the most bytes of plain data that `wrap` takes in one command: 255 less C-MAC and padding."""
    check_protocol(parameters.scp)
    if parameters.scp == 2:
        return scp02.get_max_command_data(parameters)
    return scp03.get_max_command_data(parameters)


def check_card_cryptogram(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Check that the card holds the key set: off-line, without spending an authentication attempt.

    Raises `card.cryptogram-mismatch` when the card answered under other keys. Where the protocol option makes the card
    challenge predictable it is checked too: `card.challenge-mismatch` means that the key of the cryptogram agrees, and
    the one of the challenge (SCP02: MAC, SCP03: ENC), the counter or the AID does not.
    """
    check_protocol(parameters.scp)
    if parameters.scp == 2:
        scp02.check_card_cryptogram(keys, ref, handshake, parameters)
    else:
        scp03.check_card_cryptogram(keys, ref, handshake, parameters)


def open_channel(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> SecureChannel:
    """Open a channel on a card's answer, after `check_card_cryptogram`, whose errors it raises.

    Raises `input.invalid` for an option or security level that the protocol does not have.
    """
    check_protocol(parameters.scp)
    if parameters.scp == 2:
        return scp02.open_channel(keys, ref, handshake, parameters)
    return scp03.open_channel(keys, ref, handshake, parameters)


def resume_channel(keys: KeyPort, state: ChannelState) -> SecureChannel:
    """Go on with a channel in another key scope; session keys are derived when first needed."""
    check_protocol(state.parameters.scp)
    if state.parameters.scp == 2:
        return scp02.resume_channel(keys, state)
    return scp03.resume_channel(keys, state)


def check_protocol(scp: int) -> None:
    """Refuse a protocol that is not implemented with `input.invalid`."""
    if scp not in OPTIONS:
        raise KmsError(Code.INPUT_INVALID, f"secure channel protocol {scp:02X} is not supported: use SCP02 or SCP03")
