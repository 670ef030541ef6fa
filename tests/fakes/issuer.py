"""An issuer's platform in one process: the real services over the in-memory store and keys in software."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from kms.card.keys import Diversification, KcvMethod, KeyType
from kms.card.profile import CardProfile
from kms.config import CatalogueEntry, PeerConfig, PeerRole
from kms.domain.audit import AuditEvent
from kms.domain.card_ranges import CardRange
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKey, MasterKind
from kms.domain.updates import KeyUpdate
from kms.domain.visits import Terminal, TerminalState
from kms.errors import Code, KmsError
from kms.service.applications import ApplicationService
from kms.service.domain_requests import DomainRequests
from kms.service.ports import Store
from kms.service.recovery import RecoveryService
from kms.service.relay import Relay
from kms.service.repair import RepairService
from kms.service.transfers import TransferService
from kms.service.updates import UpdateService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from tests.fakes.memory_anchor import MemoryAnchor
from tests.fakes.memory_store import MemoryStore
from tests.fakes.policies import put_in_force
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import KekSide, SoftwareKeys, check_value

IDENTITY = bytes.fromhex("499999999900010203040506070809")
KDD = bytes.fromhex("00010203040506070809")
ISD_AID = bytes.fromhex("A000000151000000")
APPLICATION_AID = bytes.fromhex("A000000951000101")
SSD_AID = bytes.fromhex("A0000009510001")
VENDOR_KEY = bytes(range(0x40, 0x50))
MASTER_VALUES = {
    MasterKind.VENDOR: VENDOR_KEY,
    MasterKind.ISD: bytes([0x11]) * 32,
    MasterKind.SSD_INITIAL: bytes([0x22]) * 32,
    MasterKind.SSD: bytes([0x33]) * 32,
}


PROVIDER = PeerConfig(
    name="provider",
    role=PeerRole.PROVIDER,
    certificate_fingerprint=bytes(32),
    allowed_aids=(bytes.fromhex("A000000952"),),
    allowed_privileges=(b"\x80",),
    allow_unbound_cards=True,
)


class SoftwareVault:
    """The HSM's scopes in software. `keks`: peer KEKs among the masters; `signing_key`: the platform's, by object id.

    `fail_with`: what opening a scope raises, to play an HSM that is away.
    """

    def __init__(self, masters: Mapping[bytes, bytes], keks: Mapping[bytes, KekSide] | None = None) -> None:
        self.masters = dict(masters)
        self.keks = dict(keks or {})
        self.signing_keys: dict[bytes, ec.EllipticCurvePrivateKey] = {}
        self.fail_with: KmsError | None = None

    @contextmanager
    def open_scope(self) -> Iterator[SoftwareKeys]:
        if self.fail_with is not None:
            raise self.fail_with
        keys = SoftwareKeys(self.masters, self.keks)
        try:
            yield keys
        finally:
            keys.close()

    def sign(self, object_id: bytes, data: bytes) -> bytes:
        signature = self.signing_keys[object_id].sign(data, ec.ECDSA(SHA256()))
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class Issuer:
    """The platform's services and what tests look at. Built by `build_issuer`."""

    store: Store
    vault: SoftwareVault
    clock: TickingClock
    identifiers: CountingIdentifiers
    visits: VisitService
    applications: ApplicationService
    updates: UpdateService
    transfers: TransferService
    terminal: Terminal
    card: Card
    recovery: RecoveryService
    repair: RepairService
    anchor: MemoryAnchor
    other_terminal: Terminal = field(init=False)

    def __post_init__(self) -> None:
        self.other_terminal = replace(self.terminal, id="terminal-2", name="counter-2", fingerprint=b"\x02" * 32)
        with self.store.transaction() as tx:
            tx.terminals.add(self.other_terminal)

    def domain(self, aid: bytes) -> SecurityDomain:
        with self.store.transaction() as tx:
            found = tx.security_domains.find_by_aid(self.card.id, aid)
        assert found is not None
        return found

    def key_sets(self, aid: bytes) -> list[KeySet]:
        domain = self.domain(aid)
        with self.store.transaction() as tx:
            return list(tx.key_sets.list_for_domain(domain.id))

    def sets_in_force(self, aid: bytes) -> list[int]:
        """Key versions that the platform holds for proved and in use."""
        return [s.kvn for s in self.key_sets(aid) if s.delivery is Delivery.PROVED and s.state is KeyState.ACTIVE]

    def last_update(self, aid: bytes) -> KeyUpdate:
        domain = self.domain(aid)
        with self.store.transaction() as tx:
            return tx.key_updates.list_for_domain(domain.id)[-1]

    def current_card(self) -> Card:
        with self.store.transaction() as tx:
            return tx.cards.get(self.card.id)

    def audit_events(self) -> list[AuditEvent]:
        """Oldest first."""
        with self.store.transaction() as tx:
            return list(reversed(tx.audit.list(limit=1000)))

    def audit_actions(self) -> list[str]:
        with self.store.transaction() as tx:
            return [event.action for event in reversed(tx.audit.list(limit=1000))]


def build_issuer(
    *,
    kvn: int = 0x01,
    scp_i: int | None = 0x55,
    scp03_i: int | None = None,
    vendor_type: KeyType = KeyType.DES2,
    ssd_key_type: KeyType = KeyType.AES128,
    profile: CardProfile | None = None,
    diversification: Diversification | None = None,
    entropy: Callable[[int], bytes] | None = None,
    store: Store | None = None,
    isd_aid: bytes = ISD_AID,
) -> Issuer:
    """A platform with one enrolled card under the vendor's keys, one terminal and all masters.

    `scp_i`, `scp03_i`: as the card's file gave them; `vendor_type`: of the vendor's keys, `build_vendor_key`.
    """
    clock, identifiers = TickingClock(), CountingIdentifiers()
    store = store or MemoryStore()
    values = MASTER_VALUES | {MasterKind.VENDOR: build_vendor_key(vendor_type)}
    masters = {kind: _build_master(kind, value, clock, vendor_type) for kind, value in values.items()}
    vault = SoftwareVault({master.object_id: values[kind] for kind, master in masters.items()})
    profile = profile or CardProfile(name="default")
    challenges = itertools.count(1)
    card = Card(
        id="card-1",
        identity=IDENTITY,
        kdd=KDD,
        scp02_i=scp_i,
        scp03_i=scp03_i,
        profile=profile.name,
        diversification=diversification or (Diversification.KDF3 if vendor_type.is_aes else Diversification.NONE),
        state=CardState.ENROLLED,
        enrolled_at=clock.now(),
    )
    isd = SecurityDomain(
        "isd-1", card.id, None, isd_aid, DomainKind.ISD, DomainState.KEYED, "issuer", b"", 0, clock.now()
    )
    vendor_set = KeySet(
        id="vendor-set",
        security_domain_id=isd.id,
        kvn=kvn,
        key_type=vendor_type,
        purpose=None,
        master_id=masters[MasterKind.VENDOR].id,
        generation=0,
        delivery=Delivery.FACTORY,
        state=KeyState.ACTIVE,
        kcvs=(),
        kcv_method=KcvMethod.AES_GP if vendor_type.is_aes else KcvMethod.DES_ZERO,
        created_at=clock.now(),
    )
    terminal = Terminal("terminal-1", "counter-1", b"\x01" * 32, TerminalState.ENROLLED, clock.now())
    with store.transaction() as tx:
        for master in masters.values():
            tx.master_keys.add(master)
        tx.cards.add(card)
        tx.security_domains.add(isd)
        tx.key_sets.add(vendor_set)
        tx.terminals.add(terminal)
    put_in_force(store)
    anchor = MemoryAnchor()
    recovery = RecoveryService(store=store, clock=clock, identifiers=identifiers, anchor=anchor)
    visits = VisitService(
        store=store,
        vault=vault,  # type: ignore[arg-type] # visits use scopes alone
        clock=clock,
        identifiers=identifiers,
        entropy=entropy or (lambda length: next(challenges).to_bytes(length, "little")),
        platform="issuer",
        profiles={profile.name: profile},
        limits=VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0),
        relay=Relay({}),
        recovery=recovery,
    )
    repair = RepairService(
        store=store,
        vault=vault,  # type: ignore[arg-type] # repair uses scopes alone
        clock=clock,
        identifiers=identifiers,
        platform="issuer",
        profiles={profile.name: profile},
    )
    sessions = itertools.count(1)
    applications = ApplicationService(
        store=store,
        clock=clock,
        identifiers=identifiers,
        visits=visits,
        catalogue=(
            CatalogueEntry(
                aid=APPLICATION_AID,
                name="ticket",
                ssd_aid=SSD_AID,
                privileges=b"\x80",
                ssd_key_type=ssd_key_type,  # type: ignore[arg-type] # any type that the catalogue takes
            ),
        ),
        platform="issuer",
        new_session_id=lambda: f"session-{next(sessions)}",
        requests=build_requests(store, clock, identifiers),
    )
    transfers = TransferService(
        store=store,
        vault=vault,  # type: ignore[arg-type] # transfers use scopes and signatures
        clock=clock,
        identifiers=identifiers,
        visits=visits,
        peers={"provider": PROVIDER},
        platform="issuer",
    )
    updates = UpdateService(store=store, clock=clock, identifiers=identifiers)
    return Issuer(
        store,
        vault,
        clock,
        identifiers,
        visits,
        applications,
        updates,
        transfers,
        terminal,
        card,
        recovery,
        repair,
        anchor,
    )


def build_requests(
    store: Store,
    clock: TickingClock,
    identifiers: CountingIdentifiers,
    *,
    relay: Relay | None = None,
    card_ranges: tuple[CardRange, ...] = (),
    platform: str = "issuer",
) -> DomainRequests:
    """What asks other issuers; by default there are none."""
    return DomainRequests(
        store=store,
        clock=clock,
        identifiers=identifiers,
        relay=relay or Relay({}),
        card_ranges=card_ranges,
        platform=platform,
        profiles=("default",),
    )


def build_vendor_key(key_type: KeyType) -> bytes:
    """The vendor's key of a type: 40 41 42 ..."""
    return bytes(range(0x40, 0x40 + key_type.length))


def _build_master(kind: MasterKind, value: bytes, clock: TickingClock, vendor_type: KeyType) -> MasterKey:
    key_type = vendor_type if kind is MasterKind.VENDOR else KeyType.AES256
    method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
    return MasterKey(
        id=f"master-{kind}",
        name=str(kind),
        kind=kind,
        generation=1,
        key_type=key_type,
        object_id=str(kind).encode().ljust(16, b"."),
        kcv=check_value(value, key_type, method),
        kcv_method=method,
        state=KeyState.ACTIVE,
        created_at=clock.now(),
    )


def away(code: Code = Code.HSM_UNAVAILABLE) -> KmsError:
    """The error of a part that is away."""
    return KmsError(code, "away: try again")
