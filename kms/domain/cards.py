"""Cards, their security domains, and the applications asked for on them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.card.keys import Diversification


class CardState(StrEnum):
    """Life of a card's record."""

    ENROLLED = "ENROLLED"
    QUARANTINED = "QUARANTINED"  # not served; officers decide
    RETIRED = "RETIRED"


@dataclass(frozen=True)
class Card:
    """An enrolled card. `identity`: IIN | CIN, or the CPLC fields of its profile, fixed for ever. `kdd`: 10 bytes.

    `scp`: 2 or 3; `scp_i`: the "i" parameter. `profile`: name of a card profile in config/card_profiles.
    `version`: counted up by every step of a visit (see `CardRepository.claim`). `trusted_since`: when an officer last
    released it; what counted against it before counts no more.
    """

    id: str
    identity: bytes
    kdd: bytes
    scp: int
    scp_i: int
    profile: str
    diversification: Diversification
    state: CardState
    enrolled_at: datetime
    quarantine_reason: str = ""
    version: int = 0
    trusted_since: datetime | None = None


class DomainKind(StrEnum):
    """Issuer security domain or supplementary security domain."""

    ISD = "ISD"
    SSD = "SSD"


class DomainState(StrEnum):
    """Where a security domain stands on its card, as far as this platform knows."""

    PLANNED = "PLANNED"  # an SSD of which nothing was sent to the card yet
    CREATING = "CREATING"  # an INSTALL or initial keys may have reached the card
    KEYED = "KEYED"  # holds a proved operative key set (an ISD: its vendor's or the issuer's)
    HANDED_OVER = "HANDED_OVER"  # made by this platform for its provider, who alone knows its keys now
    DELETED = "DELETED"


@dataclass(frozen=True)
class SecurityDomain:
    """A security domain on a card. `privileges`: 1 or 3 bytes (GP 2.3.1 section 11.1.2); empty for the ISD.

    `last_generation`: highest derivation generation ever used for this card and AID (-1: none yet).
    `managed_by`: platform name.
    """

    id: str
    card_id: str
    parent_id: str | None
    aid: bytes
    kind: DomainKind
    state: DomainState
    managed_by: str
    privileges: bytes
    last_generation: int
    created_at: datetime


class ApplicationState(StrEnum):
    """Whether the application's security domain is ready for its download."""

    REQUESTED = "REQUESTED"
    READY = "READY"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Application:
    """A card user's application for an application (flow 2 step 1). `aid`: the application's, from the catalogue."""

    id: str
    card_id: str
    aid: bytes
    security_domain_id: str
    state: ApplicationState
    requested_at: datetime
    ready_at: datetime | None = None
