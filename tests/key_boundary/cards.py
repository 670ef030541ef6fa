"""The cards of the scene: one for each way in which keys go into a card, and what each flow must write into it.

Rules: every kind plays all flows. `Kind.transient`: the writings that go under a triple DES key of the card, for which
a token that cannot wrap with such a key must read what it writes; all others are wrapped by any token itself.
"""

import secrets
from dataclasses import dataclass

from demo.installation import VendorMaster
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES
from terminal.virtual_card.personality import DEFAULT_ISD_AID, Personality, build_factory_state
from tests.key_boundary.sessions import RecordedCard, list_session_keys

ISSUER, PROVIDER = "issuer", "provider"
# What each flow writes into the card: the platform whose token the keys come from, and the command that carries them.
WRITTEN = {
    "take-over": ((ISSUER, "PUT KEY"),),
    "flow 2": ((ISSUER, "STORE DATA"), (ISSUER, "PUT KEY")),
    "flow 4": ((ISSUER, "PUT KEY"),),
    "move": ((ISSUER, "PUT KEY"),),
    "flow 3": ((ISSUER, "STORE DATA"), (PROVIDER, "PUT KEY")),
    "flow 5": ((PROVIDER, "PUT KEY"),),
}


@dataclass(frozen=True)
class Kind:
    """A kind of card. `scp02_i`, `scp03_i`: its options of both protocols; `key_type`: of its manufacturer's master.

    `moves`: its ISD gets AES keys in place of triple DES keys, by a flow of its own.
    """

    name: str
    scp02_i: int | None
    scp03_i: int | None
    key_type: str
    transient: frozenset[tuple[str, str]]
    moves: bool = False

    @property
    def flows(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Its flows in order, with what each writes."""
        return {flow: written for flow, written in WRITTEN.items() if flow != "move" or self.moves}


_EVERYTHING = frozenset((flow, command) for flow, written in WRITTEN.items() for _, command in written)
KINDS = (
    Kind("SCP02", 0x55, None, "DES2", _EVERYTHING),
    Kind("SCP03 S8, AES-128", None, 0x70, "AES128", frozenset()),
    Kind("SCP03 S16, AES-256", None, 0x71, "AES256", frozenset()),
    # Its ISD speaks SCP02 until it moves to AES-256; its SSDs get AES-128 keys, the issuer's first under triple DES.
    # SSDs have AES-128 keys on every card of SCP03: so there are S8 and S16 channels with keys of either length.
    Kind(
        "triple DES to AES",
        0x55,
        0x70,
        "DES2",
        frozenset({("take-over", "PUT KEY"), ("flow 2", "STORE DATA"), ("move", "PUT KEY")}),
        moves=True,
    ),
)


@dataclass(frozen=True)
class Card:
    """A card of a kind, as its manufacturer delivered it, and the row that enrols it."""

    kind: Kind
    card: RecordedCard
    row: str

    @property
    def identity(self) -> bytes:
        return self.card.state.iin + self.card.state.cin

    @property
    def name(self) -> str:
        """The identity as the command line takes it."""
        return self.identity.hex().upper()

    def list_static_keys(self) -> dict[str, bytes]:
        """Every key that it ever held, named by security domain, version and identifier."""
        return {
            f"{self.kind.name}: key {key_set.kvn:02X}/{key.kid} of {domain.aid.hex().upper()}": key.value
            for state in self.card.states
            for domain in state.domains
            for key_set in domain.key_sets
            for key in key_set.keys
        }

    def list_session_keys(self) -> dict[str, bytes]:
        """Every key of every channel that it opened."""
        return {f"{self.kind.name}: {name}": value for name, value in list_session_keys(self.card)}


def make_card(kind: Kind, master: VendorMaster) -> Card:
    kdd, cin = secrets.token_bytes(10), secrets.token_bytes(10)  # a CIN inside the provider's range
    is_aes = kind.key_type != "DES2"
    scheme = Diversification.KDF3 if is_aes else Diversification.VISA2
    state = build_factory_state(
        derive_card_keys(master.value, kdd, scheme),
        kvn=0xFF,
        key_type=KEY_TYPE_AES if is_aes else KEY_TYPE_DES,
        scp02_i=kind.scp02_i,
        scp03_i=kind.scp03_i,
        kdd=kdd,
        cin=cin,
    )
    card = RecordedCard(state, Personality(keep_factory_set=True))
    options = ",".join("" if i is None else f"{i:02X}" for i in (kind.scp02_i, kind.scp03_i))
    fields = ((state.iin + state.cin).hex().upper(), kdd.hex(), DEFAULT_ISD_AID.hex().upper(), "FF", options)
    return Card(kind, card, ",".join((*fields, master.name, str(scheme), "default")))
