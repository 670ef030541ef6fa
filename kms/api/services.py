"""What the API needs of the platform: the use cases it calls, and nothing of how they are built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kms.domain.orders import Order, Report
from kms.domain.pending import PendingCursor, PendingFilter, PendingPage
from kms.domain.transfers import Envelope, RelayedOrder, Transfer, TransferAnswer, TransferRequest, TransferState
from kms.domain.visits import Terminal


class AppliedFor(Protocol):
    """The answer to an application. `session_id`: of the visit to come; `state`: of the application."""

    @property
    def session_id(self) -> str:
        """SERAM's sessionId of the visit to come."""
        ...

    @property
    def state(self) -> str:
        """State of the application."""
        ...


class VisitService(Protocol):
    """Card visits (DESIGN section 3)."""

    def handshake(self, terminal: Terminal, session_id: str, identities: Sequence[bytes]) -> bytes:
        """Open or resume a visit for one of the cards; its identity.

        Raises `visit.session-unknown`, `card.unknown`, `card.quarantined`, `terminal.refused`.
        """
        ...

    def report(self, terminal: Terminal, session_id: str, report: Report) -> Order:
        """Take a Report, give the next Order. Raises `visit.session-unknown`, `visit.conflict`, `terminal.refused`."""
        ...


class ApplicationService(Protocol):
    """Applications for applications, and what waits for cards."""

    def apply(self, terminal: Terminal, card_identity: bytes, application_aid: bytes) -> AppliedFor:
        """Record a card user's application. Raises `card.unknown`, `card.quarantined`, `input.not-found`."""
        ...


class PendingService(Protocol):
    """What waits for the cards that a terminal may serve."""

    def list_page(
        self, terminal: Terminal, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None
    ) -> PendingPage:
        """A page of open updates, by card."""
        ...

    def list_for_card(self, terminal: Terminal, identity: bytes, wanted: PendingFilter) -> PendingPage:
        """What waits for one card. Raises `card.unknown`, `card.quarantined`, `terminal.not-allowed`."""
        ...


class TerminalService(Protocol):
    """Enrolled terminals."""

    def authenticate(self, fingerprint: bytes) -> Terminal:
        """Get the terminal of a certificate. Raises `terminal.unknown`, `terminal.refused`."""
        ...


class TransferService(Protocol):
    """Transfers at the issuer's platform. `peer`: name of the provider's platform that calls.

    A transfer of another peer is `transfer.unknown`. Every call may be repeated with the same effect.
    """

    def request(self, peer: str, request: TransferRequest) -> TransferAnswer:
        """Take a request on.

        Raises `peer.not-allowed`, `peer.quota`, `card.unknown`, `card.quarantined`, `transfer.conflict`,
        `transfer.refused`, `transfer.unknown` for an id that another peer uses.
        """
        ...

    def get(self, peer: str, transfer_id: str) -> Transfer:
        """Get a transfer. Raises `transfer.unknown`."""
        ...

    def report(self, peer: str, transfer_id: str, report: Report) -> RelayedOrder:
        """Take the card's responses, give the next batch.

        Raises `transfer.unknown`, `transfer.state`, `visit.conflict`, `visit.session-unknown`, `card.unknown`,
        `card.quarantined`, `terminal.refused` (the peer is suspended), `hsm.unavailable`.
        """
        ...

    def hand_over(self, peer: str, transfer_id: str) -> Envelope:
        """Issue the envelope.

        Raises `transfer.unknown`, `transfer.state` (not proved yet, or accepted already), `card.unknown`,
        `card.quarantined`, `key.missing` (no KEK or signing key), `key.kcv-mismatch`, `hsm.unavailable`.
        """
        ...

    def accept_control(self, peer: str, transfer_id: str) -> TransferState:
        """Take note that the provider's own keys are in force. Raises `transfer.unknown`, `transfer.state`."""
        ...


class Checked(Protocol):
    """A part the platform cannot work without."""

    def check(self) -> None:
        """Raise a `KmsError` unless it works; never waits."""
        ...


class Recovering(Protocol):
    """Whether the platform is in recovery."""

    @property
    def is_recovering(self) -> bool:
        """As last seen by this process; never waits."""
        ...


class ApiPlatform(Protocol):
    """The platform as the API sees it."""

    @property
    def visits(self) -> VisitService:
        """Card visits."""
        ...

    @property
    def applications(self) -> ApplicationService:
        """Applications and pending work."""
        ...

    @property
    def pending(self) -> PendingService:
        """What is pending."""
        ...

    @property
    def terminals(self) -> TerminalService:
        """Enrolled terminals."""
        ...

    @property
    def store(self) -> Checked:
        """The database."""
        ...

    @property
    def recovery(self) -> Recovering:
        """The platform's condition."""
        ...

    @property
    def vault(self) -> Checked:
        """The HSM."""
        ...


@dataclass(frozen=True)
class PeerAccess:
    """The leased line's end here. `names`: platform names of the providers by SHA-256 of their TLS certificates."""

    names: Mapping[bytes, str]
    transfers: TransferService
