"""What the card holds while it has power, and the interface behind which a secure channel protocol plugs in.

The dispatcher and the commands know `Handshake` and `SecureChannel` only. A protocol brings its own two classes and one
branch in `authentication.open_handshake`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from terminal.virtual_card.apdu import CommandApdu
from terminal.virtual_card.model import CardState, SecurityDomain
from terminal.virtual_card.personality import Personality
from terminal.virtual_card.status import REFERENCED_DATA_NOT_FOUND, CardError


class SecureChannel(Protocol):
    """An authenticated session."""

    @property
    def requires_c_mac(self) -> bool:
        """Whether a command without secure messaging breaks the session."""

    @property
    def response_level(self) -> int:
        """The bits of the security level that say how responses are protected now; 0 for not at all."""

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Check and strip secure messaging; raise SecureMessagingError, after which the channel is dead."""

    def wrap_response(self, command: CommandApdu, data: bytes, sw: int, level: int, /) -> bytes:
        """Return the response data under the protection of `level`; `command` is the stripped one."""

    def begin_r_mac(self, protection: int, /) -> None:
        """Protect responses from the next command on; raise CardError 6985 where the protocol cannot, 6A86 for P1."""

    def end_r_mac(self, mode: int, /) -> None:
        """Stop protecting responses (mode 03); raise CardError 6985 when it was not begun, 6A86 for another P2."""

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Decrypt key material with the channel's data encryption key; raise CardError 6A80 for wrong sizes."""


class Handshake(Protocol):
    """A session between INITIALIZE UPDATE and EXTERNAL AUTHENTICATE."""

    @property
    def owner_aid(self) -> bytes:
        """AID of the domain whose keys are used."""

    @property
    def kvn(self) -> int:
        """Version number of the key set in use."""

    @property
    def authentication_length(self) -> int:
        """Bytes of data that EXTERNAL AUTHENTICATE has: host cryptogram and MAC."""

    @property
    def counts_first_mac(self) -> bool:
        """Whether the first C-MAC that verifies moves the key set's sequence counter."""

    def build_response(self, kdd: bytes) -> bytes:
        """Return the data of the INITIALIZE UPDATE response."""

    def check_level(self, level: int) -> None:
        """Raise CardError 6A86 when the protocol does not offer this security level."""

    def check_mac(self, command: CommandApdu) -> None:
        """Verify the first C-MAC of the session; raise SecureMessagingError."""

    def open_channel(self, command: CommandApdu) -> SecureChannel:
        """Verify the host cryptogram and return the open channel; raise CardError 6300."""


@dataclass(frozen=True)
class Personalization:
    """STORE DATA under way: who receives it, the next block number, and what came so far (data and P1 of the first)."""

    target_aid: bytes
    next_block: int = 0
    p1: int = 0
    data: bytes = field(default=b"", repr=False)


@dataclass
class CardRuntime:
    """The working memory of one card: the persistent state, and everything that a reset clears."""

    personality: Personality
    state: CardState
    selected_aid: bytes
    random_bytes: Callable[[int], bytes]
    handshake: Handshake | None = None
    channel: SecureChannel | None = None
    # A security error closed the channel: nothing is served until INITIALIZE UPDATE, SELECT or reset.
    is_aborted: bool = False
    personalization: Personalization | None = None
    status_rest: tuple[bytes, ...] = ()  # registry entries that GET STATUS [next occurrence] will deliver
    record_file: bytes | None = None  # file identifier selected on the UICC face

    @property
    def selected(self) -> SecurityDomain:
        """The domain that commands go to."""
        domain = self.state.find_domain(self.selected_aid)
        if domain is None:
            raise CardError(REFERENCED_DATA_NOT_FOUND)
        return domain

    def close_session(self) -> None:
        """Forget handshake, channel and all that hangs on them."""
        self.handshake = None
        self.channel = None
        self.is_aborted = False
        self.personalization = None
        self.status_rest = ()

    def abort_session(self) -> None:
        """Close the session for a security error."""
        self.close_session()
        self.is_aborted = True

    def select(self, aid: bytes) -> None:
        """Make a domain the receiver of commands; ends the session of the one before."""
        self.close_session()
        self.selected_aid = aid
        self.record_file = None
