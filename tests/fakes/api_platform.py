"""The platform's services as the API sees them, simulated: one terminal, one card, visits that count their Orders."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kms.domain.orders import Order, Report
from kms.domain.pending import PendingCard, PendingCursor, PendingFilter, PendingItem, PendingPage
from kms.domain.updates import UpdateReason
from kms.domain.visits import Terminal, TerminalState
from kms.errors import Code, KmsError

CERTIFICATE = b"the certificate of terminal-1"
CARD = bytes.fromhex("4712345678901F")
QUARANTINED = bytes.fromhex("4799999999999F")
APPLICATION = bytes.fromhex("A000000951000101")
SESSION = "0f96af97-f879-45a2-a011-ee7439df3804"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class FakeTerminals:
    """`known`: terminal states by certificate fingerprint; `failure`: raised instead of answering."""

    known: dict[bytes, TerminalState] = field(default_factory=dict)
    failure: Exception | None = None

    def authenticate(self, fingerprint: bytes) -> Terminal:
        if self.failure:
            raise self.failure
        state = self.known.get(fingerprint)
        if state is None:
            raise KmsError(Code.TERMINAL_UNKNOWN, "This terminal is not enrolled")
        if state is not TerminalState.ENROLLED:
            raise KmsError(Code.TERMINAL_REFUSED, "This terminal is not served")
        return Terminal("t1", "terminal-1", fingerprint, state, AT)


@dataclass
class FakeVisits:
    """`reports`: everything that came; `failure`: raised instead of answering."""

    reports: list[Report] = field(default_factory=list)
    sessions: dict[str, bytes] = field(default_factory=dict)
    failure: Exception | None = None

    def handshake(self, terminal: Terminal, session_id: str, identities: Sequence[bytes]) -> bytes:
        del terminal
        if self.failure:
            raise self.failure
        if QUARANTINED in identities:
            raise KmsError(Code.CARD_QUARANTINED, "This card is not served")
        if CARD not in identities:
            raise KmsError(Code.CARD_UNKNOWN, "None of these cards is enrolled")
        self.sessions[session_id] = CARD
        return CARD

    def report(self, terminal: Terminal, session_id: str, report: Report) -> Order:
        del terminal
        if self.failure:
            raise self.failure
        if session_id not in self.sessions:
            raise KmsError(Code.SESSION_UNKNOWN, "There is no such visit")
        self.reports.append(report)
        if report.responses:
            return Order(number=len(self.reports), card_identity=CARD, stop=True)
        return Order(number=len(self.reports), card_identity=CARD, commands=(bytes.fromhex("00A4040000"),))


@dataclass(frozen=True)
class Applied:
    session_id: str
    state: str


@dataclass
class FakeApplications:
    """`failure`: raised instead of answering."""

    failure: Exception | None = None

    def apply(self, terminal: Terminal, card_identity: bytes, application_aid: bytes) -> Applied:
        del terminal
        if self.failure:
            raise self.failure
        if card_identity == QUARANTINED:
            raise KmsError(Code.CARD_QUARANTINED, "This card is not served")
        if card_identity != CARD:
            raise KmsError(Code.CARD_UNKNOWN, "This card is not enrolled")
        if application_aid != APPLICATION:
            raise KmsError(Code.NOT_FOUND, "The catalogue has no such application")
        return Applied(SESSION, "REQUESTED")


@dataclass
class FakePending:
    """`waiting`: cards with open updates; `asked`: what was asked for; `failure`: raised instead of answering."""

    waiting: list[PendingCard] = field(default_factory=list)
    asked: list[PendingFilter] = field(default_factory=list)
    failure: Exception | None = None

    def list_page(
        self, terminal: Terminal, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None
    ) -> PendingPage:
        del terminal
        if self.failure:
            raise self.failure
        self.asked.append(wanted)
        start = int(after.update_id) if after else 0
        more = PendingCursor(AT, f"{start + limit:036}") if start + limit < len(self.waiting) else None
        return PendingPage(tuple(self.waiting[start : start + limit]), more)

    def list_for_card(self, terminal: Terminal, identity: bytes, wanted: PendingFilter) -> PendingPage:
        del terminal
        if self.failure:
            raise self.failure
        self.asked.append(wanted)
        return PendingPage(tuple(card for card in self.waiting if card.identity == identity), None)


@dataclass
class FakeRecovery:
    """`kept`: how often the anchor was kept."""

    kept: int = 0
    is_recovering: bool = False

    def keep_anchor(self) -> str:
        self.kept += 1
        return "kept"


@dataclass
class FakePart:
    """The database or the HSM; `failure`: what its check raises."""

    failure: Exception | None = None
    connections: int = 0

    def check(self) -> None:
        if self.failure:
            raise self.failure


@dataclass
class FakeConnections:
    """`recorded`: how many connections to the HSM it was last told of."""

    recorded: int = 0

    def record(self, connections: int) -> None:
        self.recorded = connections


@dataclass
class FakePlatform:
    """All of it, with terminal-1 enrolled."""

    visits: FakeVisits = field(default_factory=FakeVisits)
    applications: FakeApplications = field(default_factory=FakeApplications)
    pending: FakePending = field(default_factory=FakePending)
    recovery: FakeRecovery = field(default_factory=FakeRecovery)
    hsm_connections: FakeConnections = field(default_factory=FakeConnections)
    terminals: FakeTerminals = field(default_factory=FakeTerminals)
    store: FakePart = field(default_factory=FakePart)
    vault: FakePart = field(default_factory=FakePart)

    def __post_init__(self) -> None:
        self.terminals.known[hashlib.sha256(CERTIFICATE).digest()] = TerminalState.ENROLLED
        item = PendingItem(bytes.fromhex("A0000009510001"), UpdateReason.EXPIRY, AT)
        self.pending.waiting = [PendingCard(bytes([0x47, number]), (item,)) for number in range(3)]
