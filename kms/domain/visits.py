"""Visits: one card at one terminal, from being presented to being released."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.domain.terminal_limits import NO_LIMITS, TerminalLimits


class VisitState(StrEnum):
    """OPEN until a Stop is ordered; EXPIRED after its deadline.

    FENCED when a later visit of the card proved itself, or too many later ones were opened at the same terminal.
    """

    OPEN = "OPEN"
    ENDED = "ENDED"
    FENCED = "FENCED"
    EXPIRED = "EXPIRED"


class BreakCode(StrEnum):
    """Why a visit gave up, or a card was set aside: stable, beside a text for people (docs/errors.md)."""

    CARD_REFUSED = "card.refused"  # a status word of the card (or of who answers for it) says no
    CARD_GONE = "card.gone"
    MISMATCH = "card.mismatch"  # a card cryptogram fits no known key set
    NO_PROOF = "card.no-proof"  # answers are lost, late or say nothing of the keys in force
    PLAN = "platform.plan"  # nothing can be planned: a master or a free key version is missing
    KEY_FAULT = "platform.key-fault"
    PEER = "peer.refused"
    OFFICER = "officer"  # set aside by hand


@dataclass(frozen=True)
class Visit:
    """A visit's whole state, so that any worker can take its next step.

    `session_id`: SERAM's sessionId. `order_number`: of the last Order built (0: none). `order`: that Order as
    JSON, erased when the visit ends. `program`: the running program's state as JSON (None between programs),
    erased too.
    `report_digest`: SHA-256 of the last accepted Report's answers. `reconciliations`: how often this visit had to start
    over. `mismatches`: card cryptograms that fitted no known key set. `requests`: the handshake and Reports served.
    `events`: lines in its journal.
    """

    id: str
    session_id: str
    terminal_id: str
    card_id: str
    state: VisitState
    opened_at: datetime
    deadline: datetime
    order_number: int = 0
    order: str | None = None
    program: str | None = None
    update_id: str | None = None
    report_digest: bytes = b""
    reconciliations: int = 0
    mismatches: int = 0
    commands_sent: int = 0
    events: int = 0
    requests: int = 0
    result: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True)
class VisitEvent:
    """One line of a visit's journal: what happened, in words safe to show (no APDU data)."""

    visit_id: str
    number: int
    at: datetime
    kind: str
    text: str


class TerminalState(StrEnum):
    """Whether a terminal is served."""

    ENROLLED = "ENROLLED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


@dataclass(frozen=True)
class Terminal:
    """An enrolled terminal. `fingerprint`: SHA-256 of its client certificate (DER), 32 bytes.

    `trusted_since`: when an officer last resumed it; what counted against it before counts no more. `limits`: the
    cards and security domains that it may serve.
    """

    id: str
    name: str
    fingerprint: bytes
    state: TerminalState
    enrolled_at: datetime
    reason: str = ""
    trusted_since: datetime | None = None
    limits: TerminalLimits = NO_LIMITS
