"""Secure channels as programs use them, whichever protocol the card speaks.

Rules: a program calls nothing but this module; the protocol number in the parameters picks the implementation. All is
computed from values and the key port: no answer is needed between the commands of a batch. A channel lives as long as
its key scope; `state()` is what outlives it, and `resume_channel` derives the session keys again (DESIGN section 3).
"""

from typing import Protocol

from kms.card import scp02
from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import KeyHandle, KeyPort, KeySetRef
from kms.errors import Code, KmsError

__all__ = [
    "ChannelParameters",
    "ChannelState",
    "Handshake",
    "SecureChannel",
    "SecurityLevel",
    "check_card_cryptogram",
    "open_channel",
    "parse_initialize_update",
    "resume_channel",
]


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
        """Encrypt a PAYLOAD key's value under the data encryption key, as PUT KEY and STORE DATA want it."""
        ...

    def state(self) -> ChannelState:
        """Give the state from which `resume_channel` goes on."""
        ...


def parse_initialize_update(data: bytes, host_challenge: bytes, scp: int) -> Handshake:
    """Parse the data of a successful INITIALIZE UPDATE response (without the status word).

    Raises `card.protocol-violation` for a wrong length or protocol marker, `input.invalid` for an unknown protocol.
    """
    check_protocol(scp)
    return scp02.parse_initialize_update(data, host_challenge)


def check_card_cryptogram(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> None:
    """Check that the card holds the key set: off-line, without spending an authentication attempt.

    Raises `card.cryptogram-mismatch` when the card answered under other keys. Where the protocol option makes the card
    challenge predictable it is checked too: `card.challenge-mismatch` means that ENC agrees and the MAC key or the AID
    does not.
    """
    check_protocol(parameters.scp)
    scp02.check_card_cryptogram(keys, ref, handshake, parameters)


def open_channel(keys: KeyPort, ref: KeySetRef, handshake: Handshake, parameters: ChannelParameters) -> SecureChannel:
    """Open a channel on a card's answer, after `check_card_cryptogram`, whose errors it raises.

    Raises `input.invalid` for an option or security level that the protocol does not have.
    """
    check_protocol(parameters.scp)
    return scp02.open_channel(keys, ref, handshake, parameters)


def resume_channel(keys: KeyPort, state: ChannelState) -> SecureChannel:
    """Go on with a channel in another key scope; session keys are derived when first needed."""
    check_protocol(state.parameters.scp)
    return scp02.resume_channel(keys, state)


def check_protocol(scp: int) -> None:
    """Refuse a protocol that is not implemented with `input.invalid`."""
    if scp != 2:
        raise KmsError(Code.INPUT_INVALID, f"secure channel protocol {scp:02X} is not supported: use SCP02")
