"""Cards, their security domains, and the applications asked for on them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.card.keys import Diversification, KeyType
from kms.errors import Code, KmsError

SCP02, SCP03 = 2, 3


class CardState(StrEnum):
    """Life of a card's record."""

    ENROLLED = "ENROLLED"
    QUARANTINED = "QUARANTINED"  # not served; officers decide
    RETIRED = "RETIRED"


@dataclass(frozen=True)
class Card:
    """An enrolled card. `identity`: IIN | CIN, or the CPLC fields of its profile, fixed for ever. `kdd`: 10 bytes.

    `scp02_i`, `scp03_i`: the "i" parameter of each secure channel protocol the card speaks, None of one that it does
    not; both None: not known yet, the next visit recognizes the card. `scp02_claimed`, `scp03_claimed`: that "i" is
    what the card said of itself, which anybody can forge, and no channel was opened by it yet. `profile`: name of a
    card profile in config/card_profiles. `version`: counted up by every step of a visit (see `CardRepository.claim`).
    `trusted_since`: when an officer last released it; what counted against it before counts no more. `batch`: what its
    manufacturer's batch was called when it was enrolled, for policies and campaigns; empty for none.
    """

    id: str
    identity: bytes
    kdd: bytes
    scp02_i: int | None
    scp03_i: int | None
    profile: str
    diversification: Diversification
    state: CardState
    enrolled_at: datetime
    quarantine_reason: str = ""
    quarantine_code: str = ""
    version: int = 0
    trusted_since: datetime | None = None
    scp02_claimed: bool = False
    scp03_claimed: bool = False
    batch: str = ""

    def find_i(self, scp: int) -> int | None:
        """Find the "i" of a protocol (2, 3); None where the card does not speak it or nobody knows."""
        return {SCP02: self.scp02_i, SCP03: self.scp03_i}[scp]

    def get_i(self, scp: int) -> int:
        """Get the "i" of a protocol (2, 3). Raises `key.state` for one that the card is not known to speak."""
        found = self.find_i(scp)
        if found is None:
            raise KmsError(Code.KEY_STATE, f"the card is not known to speak SCP{scp:02d}, which keys of this type need")
        return found

    def is_fixed(self, scp: int) -> bool:
        """Whether the protocol's "i" came with the card's file or a channel was opened by it."""
        claimed = {SCP02: self.scp02_claimed, SCP03: self.scp03_claimed}[scp]
        return self.find_i(scp) is not None and not claimed

    @property
    def is_known(self) -> bool:
        """Whether any protocol of the card is known, by whomever's word."""
        return self.scp02_i is not None or self.scp03_i is not None

    @property
    def has_claims(self) -> bool:
        """Whether any protocol of the card is known by the card's own word alone."""
        return self.scp02_claimed or self.scp03_claimed

    @property
    def is_recognized(self) -> bool:
        """Whether any protocol of the card is fixed."""
        return self.is_fixed(SCP02) or self.is_fixed(SCP03)


def get_scp(key_type: KeyType) -> int:
    """Get the protocol that keys of a type open: triple DES SCP02, AES SCP03 (GP 2.3.1 appendix E, Amendment D)."""
    return SCP03 if key_type.is_aes else SCP02


def choose_key_type(card: Card, wanted: KeyType) -> KeyType:
    """Choose the type of new keys: as wanted, or DES2 where AES is wanted and the card speaks SCP02 alone.

    Raises `key.state` for triple DES on a card without SCP02, for three-key triple DES, which no channel takes, and for
    a card whose protocols are not known yet.
    """
    if wanted is KeyType.DES3:
        raise KmsError(Code.KEY_STATE, "keys of cards are DES2 or AES; DES3 opens no secure channel")
    if wanted.is_aes and card.scp03_i is None:
        wanted = KeyType.DES2
    card.get_i(get_scp(wanted))
    return wanted


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
    `looked_at`: when a visit last looked which of all derivable key sets it holds.
    `managed_by`: platform name. `key_type`: of the keys it is first given by us, where the card speaks the protocol for
    it (`choose_key_type`); None: as the keys under which they go in.
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
    looked_at: datetime | None = None
    key_type: KeyType | None = None


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
