"""An application provider's platform in one process, on a leased line to the issuer that is a function call.

The two share nothing but the line, a KEK and a public key: each has its own store, vault and clock-driven services.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kms.card.keys import KcvMethod, KeyType
from kms.card.profile import CardProfile
from kms.config import CatalogueEntry
from kms.domain.audit import AuditEvent
from kms.domain.card_ranges import CardRange
from kms.domain.cards import SecurityDomain
from kms.domain.keys import KeySet, KeyState, MasterKey, MasterKind, PeerKey, PlatformKey, PlatformKeyPurpose
from kms.domain.orders import Report
from kms.domain.transfers import Envelope, RelayedOrder, Transfer, TransferAnswer, TransferRequest, TransferState
from kms.domain.updates import KeyUpdate
from kms.domain.visits import Terminal, TerminalState
from kms.errors import Code, Fault, KmsError
from kms.service.applications import ApplicationService
from kms.service.ports import Store
from kms.service.relay import Relay
from kms.service.updates import UpdateService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from tests.fakes.issuer import IDENTITY, Issuer, SoftwareVault, away, build_requests
from tests.fakes.memory_store import MemoryStore
from tests.fakes.policies import put_in_force
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import KekSide, check_value

T = TypeVar("T")

APPLICATION = bytes.fromhex("A000000952000101")
SSD = bytes.fromhex("A0000009520001")
KEK = bytes([0x44]) * 32
MASTER = bytes([0x55]) * 32


def say_as_the_line_does(error: KmsError) -> KmsError:
    """An issuer's error as its provider's client raises it."""
    if error.code in {Code.HSM_UNAVAILABLE, Code.DATABASE_UNAVAILABLE}:
        return away(Code.PEER_UNREACHABLE)
    if error.code is Code.VISIT_CONFLICT:
        return error
    return KmsError(Code.PEER_REFUSED, f"issuer: {error.detail}", faults=(Fault(error.code, error.detail),))


@dataclass
class DirectLine:
    """The leased line as function calls. `disturb` is called with each call's name before it is made.

    `change_order`, `change_envelope`: what an issuer that lies says instead.
    """

    issuer: Issuer
    peer: str = "provider"
    disturb: Callable[[str], None] = lambda _name: None
    change_order: Callable[[RelayedOrder], RelayedOrder] = lambda order: order
    change_envelope: Callable[[Envelope], Envelope] = lambda envelope: envelope

    def request(self, request: TransferRequest) -> TransferAnswer:
        return self._call("request", lambda: self.issuer.transfers.request(self.peer, request))

    def report(self, transfer_id: str, report: Report) -> RelayedOrder:
        order = self._call("report", lambda: self.issuer.transfers.report(self.peer, transfer_id, report))
        return self.change_order(order)

    def hand_over(self, transfer_id: str) -> Envelope:
        envelope = self._call("hand-over", lambda: self.issuer.transfers.hand_over(self.peer, transfer_id))
        return self.change_envelope(envelope)

    def accept_control(self, transfer_id: str) -> TransferState:
        return self._call("control-accepted", lambda: self.issuer.transfers.accept_control(self.peer, transfer_id))

    def _call(self, name: str, call: Callable[[], T]) -> T:
        self.disturb(name)
        try:
            return call()
        except KmsError as error:
            raise say_as_the_line_does(error) from error


@dataclass
class Provider:
    """The platform's services and what tests look at."""

    store: Store
    vault: SoftwareVault
    clock: TickingClock
    line: DirectLine
    visits: VisitService
    applications: ApplicationService
    updates: UpdateService
    terminal: Terminal
    other_terminal: Terminal

    def domain(self) -> SecurityDomain:
        with self.store.transaction() as tx:
            card = tx.cards.find_by_identity(IDENTITY)
            assert card is not None
            found = tx.security_domains.find_by_aid(card.id, SSD)
        assert found is not None
        return found

    def key_sets(self) -> list[KeySet]:
        domain = self.domain()
        with self.store.transaction() as tx:
            return list(tx.key_sets.list_for_domain(domain.id))

    def transfer(self) -> Transfer:
        with self.store.transaction() as tx:
            return tx.transfers.list_for_card(IDENTITY)[-1]

    def last_update(self) -> KeyUpdate:
        domain = self.domain()
        with self.store.transaction() as tx:
            return tx.key_updates.list_for_domain(domain.id)[-1]

    def audit_events(self) -> list[AuditEvent]:
        """Oldest first."""
        with self.store.transaction() as tx:
            return list(reversed(tx.audit.list(limit=1000)))

    def apply(self) -> str:
        return self.applications.apply(self.terminal, IDENTITY, APPLICATION).session_id


def build_provider(issuer: Issuer, *, store: Store | None = None, ssd_key_type: KeyType = KeyType.AES128) -> Provider:
    """A provider whose keys were exchanged with the issuer. `ssd_key_type`: of its catalogue."""
    clock, identifiers, store = issuer.clock, CountingIdentifiers(500_000), store or MemoryStore()
    signing = ec.generate_private_key(ec.SECP256R1())
    public = signing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer.vault.signing_keys[b"signing........."] = signing
    issuer.vault.masters[b"kek............."] = KEK
    issuer.vault.keks[b"kek............."] = KekSide.WRAPS
    with issuer.store.transaction() as tx:
        tx.master_keys.add(_build_kek("provider", clock))
        pair = PlatformKey(
            "pair", "signing", PlatformKeyPurpose.SIGNING, b"signing.........", public, KeyState.ACTIVE, clock.now()
        )
        tx.platform_keys.add(pair)
    vault = SoftwareVault(
        {b"kek.............": KEK, b"ssd.............": MASTER}, {b"kek.............": KekSide.UNWRAPS}
    )
    terminal = Terminal("p-terminal-1", "shop-1", b"\x0a" * 32, TerminalState.ENROLLED, clock.now())
    other_terminal = replace(terminal, id="p-terminal-2", name="shop-2", fingerprint=b"\x0b" * 32)
    with store.transaction() as tx:
        tx.master_keys.add(_build_kek("issuer", clock))
        tx.master_keys.add(_build_ssd_master(clock))
        tx.peer_keys.add(PeerKey("peer-key", "issuer", public, KeyState.ACTIVE, clock.now()))
        tx.terminals.add(terminal)
        tx.terminals.add(other_terminal)
    line = DirectLine(issuer)
    relay = Relay({"issuer": line})
    challenges, sessions = itertools.count(1_000_000), itertools.count(1)
    put_in_force(store)
    visits = VisitService(
        store=store,
        vault=vault,  # type: ignore[arg-type] # visits use scopes alone
        clock=clock,
        identifiers=identifiers,
        entropy=lambda length: next(challenges).to_bytes(length, "little"),
        platform="provider",
        profiles={"default": CardProfile(name="default")},
        limits=VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0),
        relay=relay,
    )
    ranges = (CardRange(bytes(len(IDENTITY)), b"\xff" * len(IDENTITY), "issuer"),)
    entry = CatalogueEntry(
        aid=APPLICATION,
        name="purse",
        ssd_aid=SSD,
        privileges=b"\x80",
        ssd_key_type=ssd_key_type,  # type: ignore[arg-type] # any type that the catalogue takes
        managed_by="provider",
    )
    applications = ApplicationService(
        store=store,
        clock=clock,
        identifiers=identifiers,
        visits=visits,
        catalogue=(entry,),
        platform="provider",
        new_session_id=lambda: f"p-session-{next(sessions)}",
        requests=build_requests(store, clock, identifiers, relay=relay, card_ranges=ranges, platform="provider"),
    )
    updates = UpdateService(store=store, clock=clock, identifiers=identifiers)
    return Provider(store, vault, clock, line, visits, applications, updates, terminal, other_terminal)


def _build_kek(peer: str, clock: TickingClock) -> MasterKey:
    return MasterKey(
        id=f"kek-{peer}",
        name=peer,
        kind=MasterKind.PEER_KEK,
        generation=1,
        key_type=KeyType.AES256,
        object_id=b"kek.............",
        kcv=check_value(KEK, KeyType.AES256, KcvMethod.AES_CMAC),
        kcv_method=KcvMethod.AES_CMAC,
        state=KeyState.ACTIVE,
        created_at=clock.now(),
    )


def _build_ssd_master(clock: TickingClock) -> MasterKey:
    return MasterKey(
        id="p-ssd",
        name="ssd",
        kind=MasterKind.SSD,
        generation=1,
        key_type=KeyType.AES256,
        object_id=b"ssd.............",
        kcv=check_value(MASTER, KeyType.AES256, KcvMethod.AES_CMAC),
        kcv_method=KcvMethod.AES_CMAC,
        state=KeyState.ACTIVE,
        created_at=clock.now(),
    )
