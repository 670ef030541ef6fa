"""A fleet of virtual cards and the platform that keeps their keys, in one process, under a clock that the test moves.

Rules: the services, the jobs, the lease and the database (SQLite) are the real ones; the HSM is in software. What is
random follows from the seed. Nobody does anything by hand: cards are presented, jobs run, and that is all.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from kms.card.keys import Diversification, KcvMethod, KeyType
from kms.card.profile import CardProfile
from kms.config import CatalogueEntry
from kms.db.store import SqlStore
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.identifiers import build_uuid7
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKey, MasterKind
from kms.domain.pending import PendingFilter
from kms.domain.policies import Policy, PolicyClass
from kms.domain.policy_window import Weekday, Window
from kms.domain.updates import KeyUpdate
from kms.domain.visits import Terminal, TerminalState
from kms.service.applications import ApplicationService
from kms.service.campaigns import CampaignService
from kms.service.housekeeping import HousekeepingLimits, HousekeepingService
from kms.service.leases import FencedStore, LeaseKeeper
from kms.service.pending import PendingService
from kms.service.recovery import RecoveryService
from kms.service.relay import Relay
from kms.service.sweeps import SweepService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from terminal.virtual_card import VirtualCard
from terminal.virtual_card.diversification import Diversification as CardScheme
from terminal.virtual_card.diversification import derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES
from terminal.virtual_card.personality import DEFAULT_IIN, DEFAULT_ISD_AID, build_factory_state
from tests.fakes.agent import VOID, Agent
from tests.fakes.issuer import SoftwareVault, build_requests
from tests.fakes.memory_anchor import MemoryAnchor
from tests.fakes.policies import build_version
from tests.fakes.records import TickingClock
from tests.fakes.software_keys import check_value
from tests.fakes.stores import open_store_on

PLATFORM = "issuer"
NOTHING = "nothing is pending for this card"
BROKEN = "broken off"
APPLICATION_AID = bytes.fromhex("A000000951000101")
SSD_AID = bytes.fromhex("A0000009510001")
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday, and past: the database keeps what is young by its own clock
DES_VENDOR, AES_VENDOR = "vendor-des", "vendor-aes"
VENDOR_KEYS = {DES_VENDOR: bytes(range(0x40, 0x50)), AES_VENDOR: bytes(range(0x80, 0x90))}
# Kinds of cards, dealt out in turn: i of SCP02 and of SCP03, and the vendor's master.
KINDS = ((0x55, None, DES_VENDOR), (None, 0x70, AES_VENDOR), (0x15, None, DES_VENDOR), (None, 0x71, AES_VENDOR))

POLICY = Policy(
    name="ssd",
    applies_to=PolicyClass(DomainKind.SSD),
    cryptoperiod_days=180,
    lead_days=28,
    jitter_days=14,
    notice_days=(14, 7, 1),
    grace_days=10,
    max_per_run=3,
    max_per_day=5,
    window=Window((Weekday.MONDAY, Weekday.TUESDAY, Weekday.WEDNESDAY, Weekday.THURSDAY, Weekday.FRIDAY), 6, 19),
)


@dataclass
class FleetCard:
    """A card and its holder. `habit`: mean days between two presentations. `lost_on`: never seen after that."""

    number: int
    kind: str
    card: VirtualCard
    identity: bytes
    habit: float
    lost_on: datetime | None = None
    visited: list[tuple[datetime, str]] = field(default_factory=list)
    values: list[tuple[bytes, ...]] = field(default_factory=list)
    changed_at: list[datetime] = field(default_factory=list)

    def read_values(self, now: datetime) -> None:
        """Keep the SSD's key values, and when, if the card has other ones than before."""
        domain = self.card.state.find_domain(SSD_AID)
        for key_set in domain.key_sets if domain is not None else ():
            held = tuple(key.value for key in key_set.keys)
            if not self.values or self.values[-1] != held:
                self.values.append(held)
                self.changed_at.append(now)

    @property
    def kvns(self) -> list[int]:
        domain = self.card.state.find_domain(SSD_AID)
        return [key_set.kvn for key_set in domain.key_sets] if domain is not None else []


class SeededIdentifiers:
    """UUIDs of version 7 of the test's own time, random by the seed."""

    def __init__(self, clock: TickingClock, random: Random) -> None:
        self._clock = clock
        self._random = random

    def new(self) -> str:
        return build_uuid7(int(self._clock.now().timestamp() * 1000), self._random.randbytes(10))


class Node:
    """One scheduler's half: the lease, and the jobs over a store that the lease fences."""

    def __init__(self, fleet: "Fleet", name: str) -> None:
        self.name = name
        self.keeper = LeaseKeeper(store=fleet.store, holder=name, seconds=3600)
        store = FencedStore(fleet.store, self.keeper)
        parts = {"store": store, "clock": fleet.clock, "identifiers": fleet.identifiers}
        self.sweeps = SweepService(**parts, platform=PLATFORM)  # type: ignore[arg-type] # of three types
        limits = HousekeepingLimits(late_reports=timedelta(minutes=30), retention=timedelta(days=30))
        housekeeping = HousekeepingService(**parts, limits=limits)  # type: ignore[arg-type] # the same
        campaigns = CampaignService(**parts, platform=PLATFORM)  # type: ignore[arg-type] # the same
        self._jobs: dict[str, Callable[[], object]] = {
            "expire-visits": housekeeping.expire_visits,
            "sweep-expiry": self._sweep,
            "give-notices": self._give_notices,
            "escalate-overdue": housekeeping.escalate_overdue,
            "tend-campaigns": campaigns.tend,
            "retain-visits": housekeeping.retain,
        }
        self._fleet = fleet

    def run(self, *names: str) -> None:
        """Run jobs, all of them without names."""
        for name in names or self._jobs:
            self._jobs[name]()

    def _sweep(self) -> None:
        swept = self.sweeps.sweep_expiry()
        self._fleet.runs.append((self._fleet.clock.now(), swept.created, swept.held_back))
        if swept.created:
            self._fleet.look_what_waits()

    def _give_notices(self) -> None:
        for notice in self.sweeps.give_notices():
            self._fleet.notices[notice.days] = self._fleet.notices.get(notice.days, 0) + notice.key_sets


class Fleet:
    """The platform, its two scheduler nodes, two terminals and the cards. `runs`: time, asked for, held back."""

    def __init__(self, store: SqlStore, seed: int) -> None:
        self.store = store
        self.random = Random(seed)  # noqa: S311 - a simulation, drawn again by its seed
        self.clock = TickingClock(BEGIN)
        self.identifiers = SeededIdentifiers(self.clock, self.random)
        self.cards: list[FleetCard] = []
        self.runs: list[tuple[datetime, int, int]] = []
        self.notices: dict[int, int] = {}
        self.broken = 0
        self.waiting: set[bytes] = set()
        self._pending = PendingService(store=store)
        self._sessions = itertools.count(1)
        self._masters = self._make_masters()
        self.terminals = [
            Terminal(f"terminal-{n}", f"counter-{n}", bytes([n]) * 32, TerminalState.ENROLLED, BEGIN) for n in (1, 2)
        ]
        vault = SoftwareVault({m.object_id: _master_value(m.name) for m in self._masters.values()})
        profile = CardProfile(name="default")
        self.visits = VisitService(
            store=store,
            vault=vault,  # type: ignore[arg-type] # visits use scopes alone
            clock=self.clock,
            identifiers=self.identifiers,
            entropy=self.random.randbytes,
            platform=PLATFORM,
            profiles={profile.name: profile},
            limits=VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0),
            relay=Relay({}),
            recovery=RecoveryService(
                store=store, clock=self.clock, identifiers=self.identifiers, anchor=MemoryAnchor()
            ),
        )
        self.applications = ApplicationService(
            store=store,
            clock=self.clock,
            identifiers=self.identifiers,
            visits=self.visits,
            catalogue=(CatalogueEntry(aid=APPLICATION_AID, name="ticket", ssd_aid=SSD_AID, privileges=b"\x80"),),
            platform=PLATFORM,
            new_session_id=self.new_session,
            requests=build_requests(store, self.clock, self.identifiers),  # type: ignore[arg-type] # ours are alike
        )
        with store.transaction() as tx:
            for master in self._masters.values():
                tx.master_keys.add(master)
            for terminal in self.terminals:
                tx.terminals.add(terminal)
            isd = Policy("isd", PolicyClass(DomainKind.ISD), cryptoperiod_days=1095, lead_days=60)
            tx.policies.add(build_version(1, isd))
            tx.policies.add(build_version(2, POLICY))
        self.nodes = [Node(self, "node-1"), Node(self, "node-2")]

    def new_session(self) -> str:
        return f"session-{next(self._sessions)}"

    def enrol(self, habit: float, lost_on: datetime | None = None) -> FleetCard:
        """A new card, delivered and enrolled."""
        number = len(self.cards) + 1
        scp02_i, scp03_i, vendor = KINDS[number % len(KINDS)]
        kdd = self.random.randbytes(10)
        scheme = Diversification.KDF3 if vendor == AES_VENDOR else Diversification.NONE
        cin = number.to_bytes(8, "big")
        state = build_factory_state(
            derive_card_keys(VENDOR_KEYS[vendor], kdd, CardScheme(str(scheme))),
            key_type=KEY_TYPE_AES if vendor == AES_VENDOR else KEY_TYPE_DES,
            kvn=0x01,
            scp02_i=scp02_i,
            scp03_i=scp03_i,
            kdd=kdd,
            cin=cin,
        )
        kind = f"SCP02 i={scp02_i:02X}" if scp02_i is not None else f"SCP03 i={scp03_i:02X}"
        fleet_card = FleetCard(number, kind, VirtualCard(state), DEFAULT_IIN + cin, habit, lost_on)
        master, now = self._masters[vendor], self.clock.now()
        card = Card(
            id=self.identifiers.new(),
            identity=fleet_card.identity,
            kdd=kdd,
            scp02_i=scp02_i,
            scp03_i=scp03_i,
            profile="default",
            diversification=scheme,
            state=CardState.ENROLLED,
            enrolled_at=now,
        )
        isd = SecurityDomain(
            id=self.identifiers.new(),
            card_id=card.id,
            parent_id=None,
            aid=DEFAULT_ISD_AID,
            kind=DomainKind.ISD,
            state=DomainState.KEYED,
            managed_by=PLATFORM,
            privileges=b"",
            last_generation=0,
            created_at=now,
        )
        vendor_set = KeySet(
            id=self.identifiers.new(),
            security_domain_id=isd.id,
            kvn=0x01,
            key_type=master.key_type,
            purpose=None,
            master_id=master.id,
            generation=0,
            delivery=Delivery.FACTORY,
            state=KeyState.ACTIVE,
            kcvs=(),
            kcv_method=KcvMethod.AES_GP if master.key_type.is_aes else KcvMethod.DES_ZERO,
            created_at=now,
        )
        with self.store.transaction() as tx:
            tx.cards.add(card)
            tx.security_domains.add(isd)
            tx.key_sets.add(vendor_set)
        self.cards.append(fleet_card)
        return fleet_card

    def apply(self, fleet_card: FleetCard) -> str:
        """The holder applies for the application; the visit brings the SSD up. Returns what the screen says."""
        terminal = self.random.choice(self.terminals)
        session = self.applications.apply(terminal, fleet_card.identity, APPLICATION_AID).session_id
        return self._run(fleet_card, terminal, session)

    def present(self, fleet_card: FleetCard) -> str:
        """The holder shows up at a terminal, which visits the card if something waits for it (or, seldom, anyway).

        One visit in thirty breaks off on its way.
        """
        if fleet_card.identity not in self.waiting and self.random.random() < 19 / 20:
            return NOTHING
        terminal = self.random.choice(self.terminals)
        breaks = self.random.random() < 1 / 30
        said = self._run(fleet_card, terminal, self.new_session(), break_at=self.random.randint(1, 3) if breaks else 0)
        fleet_card.visited.append((self.clock.now(), said))
        if said == "done":
            self.waiting.discard(fleet_card.identity)
        return said

    def look_what_waits(self) -> None:
        """The terminals fetch the list of what is pending, as they do now and then."""
        page = self._pending.list_page(self.terminals[0], PendingFilter(), limit=1000)
        self.waiting = {card.identity for card in page.cards}

    def list_history(self, fleet_card: FleetCard) -> tuple[Sequence[KeySet], Sequence[KeyUpdate]]:
        """The key sets and updates of the card's SSD, the oldest first."""
        with self.store.reading() as tx:
            card = tx.cards.find_by_identity(fleet_card.identity)
            assert card is not None
            domain = tx.security_domains.find_by_aid(card.id, SSD_AID)
            assert domain is not None
            return tx.key_sets.list_for_domain(domain.id), tx.key_updates.list_for_domain(domain.id)

    def _run(self, fleet_card: FleetCard, terminal: Terminal, session: str, break_at: int = 0) -> str:
        """One visit. `break_at`: the Order whose answers the card gives and nobody reports."""
        agent = Agent(self.visits, terminal, fleet_card.card, fleet_card.identity)
        agent.card.reset()
        agent.handshake(session)
        report = VOID
        for number in itertools.count(1):
            order = agent.report(session, report)
            if order.stop:
                fleet_card.read_values(self.clock.now())
                return order.notification
            report = agent.answer(order)
            if number == break_at:
                self.broken += 1
                break
        fleet_card.read_values(self.clock.now())
        return BROKEN

    def _make_masters(self) -> dict[str, MasterKey]:
        kinds = {DES_VENDOR: MasterKind.VENDOR, AES_VENDOR: MasterKind.VENDOR}
        kinds |= {"isd": MasterKind.ISD, "ssd-initial": MasterKind.SSD_INITIAL, "ssd": MasterKind.SSD}
        types = {DES_VENDOR: KeyType.DES2, AES_VENDOR: KeyType.AES128}
        masters = {}
        for name, kind in kinds.items():
            key_type = types.get(name, KeyType.AES256)
            method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
            masters[name] = MasterKey(
                id=self.identifiers.new(),
                name=name,
                kind=kind,
                generation=1,
                key_type=key_type,
                object_id=name.encode().ljust(16, b"."),
                kcv=check_value(_master_value(name), key_type, method),
                kcv_method=method,
                state=KeyState.ACTIVE,
                created_at=BEGIN,
            )
        return masters


def _master_value(name: str) -> bytes:
    return VENDOR_KEYS.get(name) or name.encode().ljust(32, b"-")


@contextmanager
def open_fleet(folder: Path, seed: int) -> Iterator[Fleet]:
    """`folder`: for the database; in memory where the machine has such a disk, as a year has 30,000 commits."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    place = memory if memory.is_dir() else folder
    with TemporaryDirectory(dir=place) as own, open_store_on("sqlite", Path(own)) as store:
        yield Fleet(store, seed)
