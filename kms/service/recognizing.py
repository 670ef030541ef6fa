"""Which protocols a card speaks, where its file does not say: taken from the card's own word, and fixed by a proof.

Rules: what a card says of itself is not authenticated, so it is recorded as claimed; a card cryptogram of a protocol
fixes that protocol's "i", and until then a later visit may recognize the card anew. Nothing is guessed: where the card
does not say, or says what contradicts its record, it is refused with the reason before a channel is tried.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from kms.card.channel import OPTIONS
from kms.card.keys import KeyType
from kms.card.programs.base import Recognized
from kms.domain.cards import SCP02, SCP03, Card, get_scp
from kms.domain.updates import KeyUpdate
from kms.service.card_record import CardRecord

PROTOCOLS = (SCP02, SCP03)


def needs_recognition(record: CardRecord, update: KeyUpdate) -> bool:
    """Whether a visit for an update has to ask the card first which protocols it speaks.

    On a card of ours of which no protocol is fixed, and where the keys that the update asks for are of a protocol that
    the card is only said to speak.
    """
    card = record.card
    if record.find_isd() is None:
        return False  # the issuer says what its card speaks
    if not card.is_recognized:
        return True
    domain = record.domains[update.security_domain_id]
    wanted = update.key_type or domain.key_type
    return wanted is not None and _is_claimed(card, get_scp(wanted))


def take_claims(record: CardRecord, found: Recognized) -> str:
    """Write what the card says of itself into its record; returns why it is refused, empty if it is not."""
    if found.protocols is None:
        return (
            "the card does not say which secure channel protocols it speaks (GET DATA 66), and its record does not:"
            " give them with `kms cards set-protocols`"
        )
    claims = _Claims(record.card, found.protocols)
    refusal = claims.find_contradiction() or _find_key_contradiction(claims.card, record, found)
    if not refusal:
        record.save(claims.card)
    return refusal


def describe_protocols(card: Card) -> str:
    """What is known of a card's protocols, for people: `SCP02 i=55, SCP03 i=70 (claimed)`."""
    known = []
    for scp in PROTOCOLS:
        option = card.find_i(scp)
        if option is not None:
            known.append(f"SCP{scp:02d} i={option:02X}{'' if card.is_fixed(scp) else ' (claimed)'}")
    return ", ".join(known) or "not known yet"


def fix_claim(record: CardRecord, key_type: KeyType) -> None:
    """Fix the protocol of a key set that a card cryptogram proved."""
    scp = get_scp(key_type)
    if _is_claimed(record.card, scp):
        record.save(_set_claimed(record.card, scp, claimed=False))


@dataclass(frozen=True)
class _Claims:
    """What a card says beside what is on record. `before`: the card as it stands there."""

    before: Card
    protocols: tuple[tuple[int, int], ...]

    @property
    def card(self) -> Card:
        """The card with what it claims; what is fixed stays."""
        card = self.before
        for scp in PROTOCOLS:
            if not card.is_fixed(scp):
                supported = self._list_supported(scp)
                option = supported[0] if supported else None
                card = _set_option(card, scp, option)
        return card

    def find_contradiction(self) -> str:
        """Why what the card says cannot be taken, empty if it can."""
        for scp in PROTOCOLS:
            offered = self._list_offered(scp)
            if self.before.is_fixed(scp) and self.before.get_i(scp) not in offered:
                said = _write_options(scp, offered) if offered else f"no SCP{scp:02d}"
                return f"the card says that it speaks {said}; its record says i={self.before.get_i(scp):02X}"
            supported = self._list_supported(scp)
            if not self.before.is_fixed(scp) and len(supported) > 1:
                said = _write_options(scp, supported)
                return f"the card says that it speaks {said}: give one with `kms cards set-protocols`"
        if not self.card.is_known:
            said = ", ".join(f"SCP{scp:02d} i={i:02X}" for scp, i in self.protocols) or "none"
            return f"the card speaks no secure channel protocol that this platform does: it says {said}"
        return ""

    def _list_offered(self, scp: int) -> list[int]:
        return [i for number, i in self.protocols if number == scp]

    def _list_supported(self, scp: int) -> list[int]:
        return [i for i in self._list_offered(scp) if i in OPTIONS[scp]]


def _find_key_contradiction(card: Card, record: CardRecord, found: Recognized) -> str:
    """Why the ISD's key set in force cannot be what the card says it holds, empty if it can."""
    current = record.find_current_set(record.isd)
    if current is None or record.sets_in_doubt(record.isd):
        return ""
    scp = get_scp(current.key_type)
    if card.find_i(scp) is None:
        return f"the ISD's keys on record are {current.key_type}, and the card says that it does not speak SCP{scp:02d}"
    shown = dict(found.set_types).get(current.kvn)
    if shown is not None and shown is not current.key_type:
        return f"the ISD's key version {current.kvn:02X} is {current.key_type} on record, and the card says {shown}"
    return ""


def _is_claimed(card: Card, scp: int) -> bool:
    return card.find_i(scp) is not None and not card.is_fixed(scp)


def _set_option(card: Card, scp: int, option: int | None) -> Card:
    """What the card says of a protocol, None for one that it does not name."""
    card = replace(card, scp02_i=option) if scp == SCP02 else replace(card, scp03_i=option)
    return _set_claimed(card, scp, claimed=option is not None)


def _set_claimed(card: Card, scp: int, *, claimed: bool) -> Card:
    return replace(card, scp02_claimed=claimed) if scp == SCP02 else replace(card, scp03_claimed=claimed)


def _write_options(scp: int, options: Collection[int]) -> str:
    return f"SCP{scp:02d} with i={', '.join(f'{option:02X}' for option in options)}"
