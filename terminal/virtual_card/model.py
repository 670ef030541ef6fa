"""What the card remembers without power: security domains, their key sets and life cycles, and the card's own data.

Every value is frozen. A command that changes the card makes a new `CardState` and assigns it once, which is what makes
each command atomic. Key bytes never appear in a repr.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

KEY_TYPE_DES: Final = 0x80
KEY_TYPE_AES: Final = 0x88
# 82 to 84 name DES with a mode of operation (GP211 Table 9-16); hosts of that age still send them.
DES_KEY_TYPES: Final = frozenset({0x80, 0x82, 0x83, 0x84})
SCP_KIDS: Final = (1, 2, 3)  # ENC, MAC, DEK
KVN_FACTORY: Final = 0xFF
MAX_SEQUENCE_COUNTER_SCP02: Final = 0xFFFF
MAX_SEQUENCE_COUNTER_SCP03: Final = 0xFFFFFF

# Life cycle of a security domain (GP231 Table 11-5); the ISD carries the card's (Table 11-6).
INSTALLED: Final = 0x03
SELECTABLE: Final = 0x07
PERSONALIZED: Final = 0x0F
LOCKED_BIT: Final = 0x80
OP_READY: Final = 0x01
INITIALIZED: Final = 0x07
SECURED: Final = 0x0F
CARD_LOCKED: Final = 0x7F
TERMINATED: Final = 0xFF


@dataclass(frozen=True)
class StaticKey:
    """One key of a set: its identifier, its type byte and its value (DES 16 or 24 bytes, AES 16, 24 or 32)."""

    kid: int
    key_type: int
    value: bytes = field(repr=False)

    @property
    def is_des(self) -> bool:
        """Whether the type byte names DES in any of its codings."""
        return self.key_type in DES_KEY_TYPES

    @property
    def is_aes(self) -> bool:
        """Whether the type byte names AES."""
        return self.key_type == KEY_TYPE_AES


@dataclass(frozen=True)
class KeySet:
    """The keys of one version number, in order of their identifiers, and the sequence counter of the set.

    The counter's next use: SCP02 sends it as it stands and moves it when a session begins; SCP03 moves it first.
    """

    kvn: int
    keys: tuple[StaticKey, ...]
    sequence_counter: int = 0

    def find_key(self, kid: int) -> StaticKey | None:
        """Return the key with this identifier, if the set has it."""
        return next((key for key in self.keys if key.kid == kid), None)

    def with_keys(self, added: tuple[StaticKey, ...]) -> "KeySet":
        """Return the set with the keys of one command added or replaced; its sequence counter starts again.

        A set of AES keys keeps its counter when only a part of it is replaced (GPC 2.3 Amendment D 6.2.2); a set of
        DES keys begins at 0 whichever key changed (GP231 E.1.2.3).
        """
        kids = {key.kid for key in added}
        others = tuple(key for key in self.keys if key.kid not in kids)
        keeps_counter = bool(others) and all(key.is_aes for key in (*others, *added))
        return KeySet(
            self.kvn,
            tuple(sorted((*others, *added), key=lambda key: key.kid)),
            self.sequence_counter if keeps_counter else 0,
        )

    @property
    def scp_keys(self) -> tuple[StaticKey, ...]:
        """ENC, MAC and DEK (identifiers 1 to 3) in this order, as far as they are there."""
        return tuple(key for kid in SCP_KIDS if (key := self.find_key(kid)) is not None)

    @property
    def has_scp_keys(self) -> bool:
        """Whether ENC, MAC and DEK are all there."""
        return len(self.scp_keys) == len(SCP_KIDS)

    @property
    def is_scp02_set(self) -> bool:
        """Whether the set opens SCP02: three DES keys of 16 bytes."""
        return self.has_scp_keys and all(key.is_des and len(key.value) == 16 for key in self.scp_keys)

    @property
    def is_scp03_set(self) -> bool:
        """Whether the set opens SCP03: three AES keys of one length."""
        keys = self.scp_keys
        return self.has_scp_keys and all(key.is_aes and len(key.value) == len(keys[0].value) for key in keys)


@dataclass(frozen=True)
class SecurityDomain:
    """The ISD or a supplementary security domain. A domain whose parent is itself is the root of its hierarchy."""

    aid: bytes
    parent_aid: bytes
    life_cycle: int
    privileges: bytes  # 3 bytes, GP231 Tables 11-7 to 11-9
    key_sets: tuple[KeySet, ...] = ()
    failed_authentications: int = 0

    def find_key_set(self, kvn: int) -> KeySet | None:
        """Return the key set with this version number."""
        return next((key_set for key_set in self.key_sets if key_set.kvn == kvn), None)

    def with_key_set(self, changed: KeySet) -> "SecurityDomain":
        """Return the domain with that key set put in the place of the one with its version number."""
        key_sets = tuple(changed if key_set.kvn == changed.kvn else key_set for key_set in self.key_sets)
        return replace(self, key_sets=key_sets)

    @property
    def has_scp_key_set(self) -> bool:
        """Whether one key set at least can open a secure channel."""
        return any(key_set.has_scp_keys for key_set in self.key_sets)

    @property
    def is_locked(self) -> bool:
        """Whether the domain's own life cycle says LOCKED (meaningless for the ISD)."""
        return bool(self.life_cycle & LOCKED_BIT)

    def has_privilege(self, byte: int, bit: int) -> bool:
        """Tell whether a privilege bit is set; `byte` counts from 1 as in GP231."""
        return bool(self.privileges[byte - 1] & bit)


@dataclass(frozen=True)
class CardState:
    """Everything that survives a loss of power. The first domain is the ISD.

    `scp02_i`, `scp03_i`: the parameter i of each secure channel protocol, None where the card does not speak it.
    """

    scp02_i: int | None
    scp03_i: int | None
    kdd: bytes
    iin: bytes
    cin: bytes
    cplc: bytes
    domains: tuple[SecurityDomain, ...]

    @property
    def isd(self) -> SecurityDomain:
        """The issuer security domain."""
        return self.domains[0]

    def find_domain(self, aid: bytes) -> SecurityDomain | None:
        """Return the domain with exactly this AID."""
        return next((domain for domain in self.domains if domain.aid == aid), None)

    def with_domain(self, changed: SecurityDomain) -> "CardState":
        """Return the state with that domain put in the place of the one with its AID."""
        domains = tuple(changed if domain.aid == changed.aid else domain for domain in self.domains)
        return replace(self, domains=domains)

    def iter_ancestors(self, domain: SecurityDomain) -> Iterator[SecurityDomain]:
        """Yield the parent, its parent and so on up to the root."""
        while domain.parent_aid != domain.aid:
            parent = self.find_domain(domain.parent_aid)
            if parent is None:
                return
            yield parent
            domain = parent

    def get_key_owner(self, domain: SecurityDomain) -> SecurityDomain:
        """Return the domain whose keys open a channel to `domain`: itself, else its nearest ancestor with keys."""
        # GP231 section 7.1: a domain without keys uses the services of the domain it is associated with.
        for candidate in (domain, *self.iter_ancestors(domain)):
            if candidate.key_sets:
                return candidate
        return domain
