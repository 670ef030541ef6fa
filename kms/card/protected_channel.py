"""The course of a secure channel, which SCP02 and SCP03 share: authenticate once, wrap in order, unwrap in order.

Rules: the state is a frozen value that each command and answer replaces. A subclass says how a command is protected and
an answer is checked; when, and what is kept for it, is decided here alone.
"""

from abc import ABC, abstractmethod
from dataclasses import replace

from kms.card.apdu import CommandApdu, ResponseApdu
from kms.card.channel_state import ChannelState
from kms.card.keys import KeyHandle
from kms.card.secure_messaging import SECURE_MESSAGING, check_class
from kms.card.status import INS_EXTERNAL_AUTHENTICATE
from kms.errors import Code, KmsError


class ProtectedChannel(ABC):
    """A `SecureChannel` but for its cryptography. `mac_length`: bytes of a MAC on the wire."""

    def __init__(self, state: ChannelState, mac_length: int) -> None:
        self._state = state
        self._mac_length = mac_length
        self._host_cryptogram: bytes | None = None

    @abstractmethod
    def check_card(self) -> bytes:
        """Check the card's cryptogram and, where it is known, its challenge; return and keep the host cryptogram."""

    @abstractmethod
    def wrap_key(self, key: KeyHandle) -> bytes:
        """Encrypt a PAYLOAD key under the data encryption key."""

    @abstractmethod
    def _mac(self, command: CommandApdu) -> bytes:
        """The next value of the C-MAC chain, whose leftmost bytes are the command's C-MAC."""

    @abstractmethod
    def _protect(self, command: CommandApdu) -> tuple[bytes, bytes]:
        """The command's data as they go to the card, without the C-MAC, and the next value of the C-MAC chain."""

    @abstractmethod
    def _keep(self, command: CommandApdu, mac: bytes) -> bytes:
        """What verifying the answer to a command will take, at levels with R-MAC; never empty."""

    @abstractmethod
    def _check_response(self, response: ResponseApdu, kept: bytes) -> ResponseApdu:
        """Check and strip an answer that should carry an R-MAC."""

    def external_authenticate(self) -> CommandApdu:
        """Build EXTERNAL AUTHENTICATE with its C-MAC, whatever the level (GP 2.3.1 E.5.2; Amendment D 7.1.2)."""
        if self._state.commands:
            raise KmsError(Code.CONFLICT, "EXTERNAL AUTHENTICATE was built already: open a new channel")
        cryptogram = self._host_cryptogram or self.check_card()
        command = CommandApdu(0x80, INS_EXTERNAL_AUTHENTICATE, self._state.parameters.level, 0x00, cryptogram)
        mac = self._mac(command)
        self._advance(mac, b"")
        return self._sign(command, command.data, mac)

    def wrap(self, command: CommandApdu) -> CommandApdu:
        """Protect a command as the level asks."""
        if not self._state.commands:
            raise KmsError(Code.CONFLICT, "nothing can be wrapped before EXTERNAL AUTHENTICATE")
        check_class(command)
        if not self._state.parameters.level.has_c_mac:
            mac = self._state.mac_chaining
            self._advance(mac, self._keep(command, mac))
            return command
        data, mac = self._protect(command)
        self._advance(mac, self._keep(command, mac))
        return self._sign(command, data, mac)

    def unwrap(self, response: ResponseApdu) -> ResponseApdu:
        """Check and strip the answer to the oldest unanswered command."""
        if not self._state.parameters.level.has_r_mac:
            return response
        if not self._state.unanswered:
            raise KmsError(Code.CONFLICT, "no command waits for an answer")
        kept = self._state.unanswered[0]
        # Nothing is kept for EXTERNAL AUTHENTICATE: the answers after it carry R-MACs.
        stripped = self._check_response(response, kept) if kept else response
        self._state = replace(self._state, unanswered=self._state.unanswered[1:])
        return stripped

    def state(self) -> ChannelState:
        """Give the state to go on from."""
        return self._state

    def _advance(self, mac: bytes, kept: bytes) -> None:
        unanswered = self._state.unanswered
        if self._state.parameters.level.has_r_mac:
            unanswered = (*unanswered, kept)
        self._state = replace(self._state, mac_chaining=mac, commands=self._state.commands + 1, unanswered=unanswered)

    def _sign(self, command: CommandApdu, data: bytes, mac: bytes) -> CommandApdu:
        return replace(command, cla=command.cla | SECURE_MESSAGING, data=data + mac[: self._mac_length])
