"""What is known when the records are not enough: repair orders, findings on cards, and a database that was restored.

Rules: a finding rests on a valid card cryptogram under keys that this platform derives (`RECORDED`, `DERIVED`); what a
card or terminal merely claims (`CLAIMED`, `NONE`, `ABSENT`) is shown and changes no record. A set that fits nothing is
`UNKNOWN`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.card.keys import DerivationPurpose, KeyType

GENERATIONS_AHEAD = 16
"""How many generations after the last one on record are looked for: each of a range's 16 key versions once."""


class PlatformCondition(StrEnum):
    """Whether the database is known to be the newest."""

    NORMAL = "NORMAL"
    RECOVERY = "RECOVERY"  # it is behind what stands outside it: only looking, until officers confirm


@dataclass(frozen=True)
class PlatformState:
    """The platform's condition, one row.

    `restored_at`: when it was last found to be behind; security domains that were not looked at since are, before
    anything else is done with them. `behind_since`: of the newest record that it held then: what is missing happened
    after it. `reason`: in words for officers.
    """

    id: str
    condition: PlatformCondition
    changed_at: datetime
    changed_by: str
    reason: str = ""
    restored_at: datetime | None = None
    behind_since: datetime | None = None


@dataclass(frozen=True)
class AnchorMark:
    """What stands outside the database. `event_id`, `event_at`: of the newest audit event when it was written.

    `refused_terminals`: SHA-256 fingerprints of the terminals that were revoked or suspended then, so that no restored
    database serves them again.
    """

    event_id: str
    event_at: datetime
    refused_terminals: tuple[bytes, ...] = ()


class FindingKind(StrEnum):
    """What a look at a security domain showed of one key version."""

    RECORDED = "recorded"  # a key set on record answers
    DERIVED = "derived"  # one that is not on record answers: `purpose`, `master_id` and `generation` say which
    UNKNOWN = "unknown"  # something answers that fits nothing this platform knows or can derive
    CLAIMED = "claimed"  # GET DATA E0 names the version; it did not answer, or nobody asked it
    NONE = "none"  # no version answered
    ABSENT = "absent"  # SELECT failed: there is no such security domain, or it does not let itself be selected


PROVED_KINDS = frozenset({FindingKind.RECORDED, FindingKind.DERIVED})


@dataclass(frozen=True)
class KeyFinding:
    """One line of what a visit found on a card. `kvn`: 0 where none is meant. `counter`: the card's sequence counter.

    `repair_order_id`: None for what recovery found. `applied_at`: when the records were set to it.
    """

    id: str
    card_id: str
    security_domain_id: str
    visit_id: str
    found_at: datetime
    kind: FindingKind
    kvn: int = 0
    counter: int = 0
    key_set_id: str | None = None
    purpose: DerivationPurpose | None = None
    key_type: KeyType | None = None
    master_id: str | None = None
    generation: int | None = None
    repair_order_id: str | None = None
    applied_at: datetime | None = None


class RepairState(StrEnum):
    """OPEN until the card was looked at whole (FOUND); then an officer applies what was found, or drops it."""

    OPEN = "OPEN"
    FOUND = "FOUND"
    APPLIED = "APPLIED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class RepairOrder:
    """An officer's order to look at a card. `terminal_id`: where alone, None for any terminal."""

    id: str
    card_id: str
    terminal_id: str | None
    state: RepairState
    requested_at: datetime
    requested_by: str
    finished_at: datetime | None = None
    finished_by: str = ""
