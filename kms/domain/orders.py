"""Orders and Reports: what a terminal is told to do and what it says happened (GlobalPlatform SERAM 2.0).

Rules: these are the protocol's meaning; its JSON spelling belongs to `kms.api.seram`. Every byte of a Report may be a
lie. APDUs never show in a repr.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class AgentStatus(StrEnum):
    """SERAM localAgentStatusEnum."""

    PROCESSED = "PROCESSED"
    POLLING = "POLLING"
    UNAVAILABLE_SE = "UNAVAILABLE_SE"
    UNKNOWN_FAILURE = "UNKNOWN_FAILURE"
    UNGRANTED_ACCESS = "UNGRANTED_ACCESS"


@dataclass(frozen=True)
class Report:
    """A terminal's Report. `answers_order`: the Order number in its cookie, None without one.

    `responses`: every response APDU in order, empty bytes for one that was not available. A void report has none.
    `error`: the agent's error text, untrusted: printable, cut to 200 characters, for the visit's journal alone.
    """

    status: AgentStatus
    answers_order: int | None
    responses: tuple[bytes, ...] = field(default=(), repr=False)
    error: str = ""


@dataclass(frozen=True)
class Order:
    """An Order for a terminal. `number`: 1 for a visit's first, sent along as a cookie.

    `commands`: command APDUs for the card, sent as one SE RAM Command when there are any. `stop`: a Stop Command goes
    after them. `notification`: text for the terminal's user, or empty.
    `delay_ms`: how long to wait before the next Report.
    """

    number: int
    card_identity: bytes
    commands: tuple[bytes, ...] = field(default=(), repr=False)
    stop: bool = False
    notification: str = ""
    delay_ms: int = 0

    @property
    def start(self) -> bool:
        """Whether a Start Command goes first: SERAM lets a Remote Agent begin with nothing else."""
        return self.number == 1
