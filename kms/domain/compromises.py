"""What the compromise of a master key reaches.

Rules: a master's compromise is that of every key set derived from it, whatever its state; each security domain below it
gets one remedy. What no remedy without people fits is listed for officers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.domain.cards import DomainKind


class Remedy(StrEnum):
    """What becomes of a security domain whose keys are compromised."""

    CAMPAIGN = "campaign"  # an update is open: new keys come with the card's next visit
    DONE = "done"  # other keys are in force by now
    ISD = "isd"  # an ISD has nothing above it: retire the card
    NO_ROUTE = "no-route"  # PUT KEY does not reach it (its card's profile), or its ISD's keys are in no order either
    NO_ISSUER = "no-issuer"  # on another issuer's card, and nobody on record can be asked
    FAILED = "failed"  # its update failed or was cancelled: force it once more, or retire the card
    SET_ASIDE = "set-aside"  # the card is quarantined or retired
    NOT_KEYED = "not-keyed"  # its first keys are still to be proved, or it is its provider's by now


FOR_OFFICERS = frozenset({Remedy.ISD, Remedy.NO_ROUTE, Remedy.NO_ISSUER, Remedy.FAILED, Remedy.SET_ASIDE})


@dataclass(frozen=True)
class Marked:
    """One batch of marking. `last`: the security domain it came to, empty when none was left."""

    last: str
    domains: int = 0
    key_sets: int = 0
    visits: int = 0
    updates: int = 0
    transfers: int = 0


@dataclass(frozen=True)
class MasterUse:
    """What hangs on a master: `live` key sets in force or on their way, `planned` ones never sent, `past` ones gone.

    `open_updates`: of the security domains of the live ones. `last_end`: the latest end of a live one.
    """

    live: int
    planned: int
    past: int
    open_updates: int
    last_end: datetime | None = None


@dataclass(frozen=True)
class AffectedDomain:
    """A security domain below a compromised master. `card`: the card's identity."""

    card: bytes
    aid: bytes
    kind: DomainKind
    remedy: Remedy


@dataclass(frozen=True)
class Affected:
    """Security domains below a compromised master, by what becomes of them."""

    by_remedy: Mapping[Remedy, int]

    @property
    def for_officers(self) -> int:
        """How many need people."""
        return sum(self.by_remedy.get(remedy, 0) for remedy in FOR_OFFICERS)
