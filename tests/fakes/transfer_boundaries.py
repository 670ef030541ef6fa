"""Every boundary of a transfer between two platforms, by name, and the world in which a test cuts one there.

The world of `boundaries` with a second platform behind the first: the provider is the server that the terminal speaks
to, the issuer is at the other end of a leased line that is function calls. Each has a database file, keys and crashes
of its own; the card, the terminals and all services are the real ones.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kms.card.keys import DerivationPurpose
from kms.card.profile import CardProfile
from kms.config import CatalogueEntry
from kms.db.store import SqlStore, SqlTransaction
from kms.domain.card_ranges import CardRange
from kms.domain.cards import DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.orders import Order, Report
from kms.domain.transfers import (
    OPEN_TRANSFERS,
    TransferState,
)
from kms.domain.updates import UpdateReason
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError
from kms.service.applications import ApplicationService
from kms.service.relay import Relay
from kms.service.updates import UpdateService
from kms.service.visits import VisitService
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.key_store import compute_kcv
from terminal.virtual_card.model import CardState
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.boundaries import (
    ENOUGH_VISITS,
    TERMINAL_KILLED,
    CrashError,
    Cut,
    Scenario,
    T,
    WatchedStore,
    World,
    open_engine,
)
from tests.fakes.issuer import IDENTITY, ISD_AID, SoftwareVault, away, build_issuer, build_requests
from tests.fakes.issuer_process import LIMITS, IssuerProcess, WatchedLine
from tests.fakes.provider import APPLICATION, SSD, build_provider
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import SoftwareKeys
from tests.fakes.stores import build_database

# What can go wrong, as the names of boundaries begin; "server" and "HSM" are the provider's.
FAULTS = (
    "card pulled before",
    "card pulled after",
    "card torn before",
    "card torn after",
    "request lost",
    "answer lost",
    *TERMINAL_KILLED,
    "server crashed before commit",
    "server crashed after commit",
    "HSM away at the start of scope",
    "HSM away at the end of scope",
    "line lost the request of",  # the issuer never heard; the provider's terminal is told to come again
    "line lost the answer to",  # the issuer acted
    "issuer away from",  # nothing comes through any more, until the terminal gives up and the card is taken elsewhere
    "issuer crashed before commit",
    "issuer crashed after commit",
    "issuer's HSM away at the start of",
    "issuer's HSM away at the end of",
)
PATIENCE = 3  # how often a terminal sends the same again while the issuer is away
RETRIED = frozenset({Code.HSM_UNAVAILABLE, Code.PEER_UNREACHABLE, Code.VISIT_CONFLICT})


@dataclass(frozen=True)
class TransferScenario:
    """A visit at the provider's. `handed_over`: flow 3 is done when it begins; `forced`: why new keys are due then."""

    name: str
    scp_i: int = 0x55
    profile: CardProfile = field(default_factory=lambda: CardProfile(name="default"))
    kvn: int = 0x01
    isd_forced: bool = False
    handed_over: bool = False
    forced: UpdateReason | None = None


def build_transfer_scenarios() -> tuple[TransferScenario, ...]:
    """What a provider's visit may be for."""
    put_key = CardProfile(name="default", initial_key_route="put-key")
    return (
        TransferScenario("flow 3"),
        TransferScenario("flow 3, a card whose challenge is random", scp_i=0x15),
        TransferScenario("flow 3 by PUT KEY", profile=put_key),
        TransferScenario("flow 3 with the ISD's take-over", kvn=0xFF, isd_forced=True),
        TransferScenario("flow 5", handed_over=True, forced=UpdateReason.FORCED),
        TransferScenario("re-keying", handed_over=True, forced=UpdateReason.COMPROMISE),
    )


class GaveUpError(Exception):
    """The terminal's user took the card away, since the issuer stayed away."""


@dataclass
class TransferWorld(World):
    """Two platforms' database files, a card, and the processes around them."""

    issuer_path: Path = Path()
    issuer_vault: SoftwareVault = field(default_factory=lambda: SoftwareVault({}))
    provider_vault: SoftwareVault = field(default_factory=lambda: SoftwareVault({}))
    seen: list[str] = field(default_factory=list)
    _shown: object = None

    def __post_init__(self) -> None:
        self.application_aid = APPLICATION
        self.issuer = IssuerProcess(
            self.issuer_path, self.issuer_vault, self.clock, self.scenario.profile, self.watcher, 2 * self.first_id
        )
        self.issuer.start()
        self.line = WatchedLine(self.issuer, self.watcher)
        super().__post_init__()

    def start_server(self) -> None:
        """A new process of the provider over the same database file."""
        self._processes += 1
        self.store = SqlStore(open_engine(self.path))
        store = WatchedStore(self)
        identifiers = CountingIdentifiers(self.first_id + 1_000_000 * self._processes)
        relay = Relay({"issuer": self.line})
        self.visits = VisitService(
            store=store,  # type: ignore[arg-type] # visits use transactions alone
            vault=self,  # type: ignore[arg-type] # visits use scopes alone
            clock=self.clock,
            identifiers=identifiers,
            entropy=lambda length: next(self._challenges).to_bytes(length, "little"),
            platform="provider",
            profiles={"default": self.scenario.profile},
            limits=LIMITS,
            relay=relay,
        )
        entry = CatalogueEntry(aid=APPLICATION, name="purse", ssd_aid=SSD, privileges=b"\x80", managed_by="provider")
        ranges = (CardRange(bytes(len(IDENTITY)), b"\xff" * len(IDENTITY), "issuer"),)
        self.applications = ApplicationService(
            store=store,  # type: ignore[arg-type] # the same
            clock=self.clock,
            identifiers=identifiers,
            visits=self.visits,
            catalogue=(entry,),
            platform="provider",
            new_session_id=self.new_session,
            requests=build_requests(
                store,  # type: ignore[arg-type] # the same
                self.clock,
                identifiers,
                relay=relay,
                card_ranges=ranges,
                platform="provider",
            ),
        )

    @contextmanager
    def open_scope(self) -> Iterator[SoftwareKeys]:
        self.scopes += 1
        number = self.scopes
        if self.watcher.hit("HSM away at the start of scope", str(number)):
            raise away()
        with self.provider_vault.open_scope() as keys:
            yield keys
        if self.watcher.hit("HSM away at the end of scope", str(number)):
            raise away()

    def present(self, terminal: Terminal, *, applies: bool = False, session: str | None = None) -> None:
        """Present the card at a terminal once; when the issuer is away for good the card is taken away."""
        try:
            super().present(terminal, applies=applies, session=session)
        except GaveUpError:
            pass
        finally:
            self.line.away = False

    def _request(self, send: Callable[[], T]) -> T:
        self.requests += 1
        where = f"request {self.requests}"
        refusals = 0
        while True:
            if self.watcher.hit("request lost", where):
                continue
            try:
                answer = send()
            except CrashError:
                self.store.dispose()
                self.start_server()
                continue
            except KmsError as error:
                if error.code not in RETRIED:
                    raise
                refusals += 1
                if refusals > PATIENCE:
                    raise GaveUpError from error
                continue
            if not self.watcher.hit("answer lost", where):
                return answer

    def _transmit(self, order: Order) -> Report:
        report = super()._transmit(order)
        self._check_recorded()
        return report

    def _check_recorded(self) -> None:
        """Whether each key set that is in the SSD is on some record."""
        domain = self.card.state.find_domain(SSD)
        if domain is None or domain == self._shown:
            return
        self._shown = domain
        known: set[tuple[int, tuple[bytes, ...]]] = set()
        for store in (self.store, self.issuer.store):
            with store.transaction() as tx:
                known |= {(item.kvn, item.kcvs) for item in tx.key_sets.list(limit=1000)}
        for item in domain.key_sets:
            if (item.kvn, tuple(map(compute_kcv, item.keys))) not in known:
                self.seen.append(f"key version {item.kvn:02X} is in the SSD and on no record")

    def is_known(self) -> bool:
        """Whether the provider has the card on record."""
        with self.store.transaction() as tx:
            return tx.cards.find_by_identity(IDENTITY) is not None

    def find_faults(self) -> list[str]:
        with self.issuer.store.transaction() as tx:
            issuer = [*self._find_open(tx), *self._find_open_transfers(tx), *self._find_issuer_faults(tx)]
            issuer += self.find_broken_rules(tx)
        with self.store.transaction() as tx:
            provider = [*self._find_open(tx), *self._find_open_transfers(tx), *self._find_provider_faults(tx)]
            provider += self.find_broken_rules(tx)
        return [*(f"issuer: {item}" for item in issuer), *(f"provider: {item}" for item in provider), *self.seen]

    def _find_open_transfers(self, tx: SqlTransaction) -> list[str]:
        transfers = tx.transfers.list_for_card(IDENTITY)
        found = [f"transfer is {item.state}" for item in transfers if item.state in OPEN_TRANSFERS]
        found += [f"transfer was refused: {item.refusal}" for item in transfers if item.state is TransferState.REFUSED]
        found += ["an envelope is still kept" for item in transfers if item.envelope is not None]
        return found if transfers else ["no transfer is on record"]

    def _find_provider_faults(self, tx: SqlTransaction) -> list[str]:
        domains = tx.security_domains.list(limit=100)
        if [(d.aid, d.state) for d in domains] != [(SSD, DomainState.KEYED)]:
            return [f"security domains {[(d.aid.hex(), str(d.state)) for d in domains]}"]
        sets = tx.key_sets.list_for_domain(domains[0].id)
        active = [s for s in sets if s.state is KeyState.ACTIVE]
        own = [(s.kvn, s.kcvs) for s in active if s.purpose is DerivationPurpose.SSD and s.delivery is Delivery.PROVED]
        installed = self.card.state.find_domain(SSD)
        held = [(s.kvn, tuple(map(compute_kcv, s.keys))) for s in installed.key_sets] if installed else []
        found = [] if held == own and len(held) == len(active) == 1 else [f"on the card {held}, our own {own}"]
        waiting = [s for s in sets if s.delivery in (Delivery.IN_FLIGHT, Delivery.IN_DOUBT)]
        return [*found, *(f"key version {s.kvn:02X} is in doubt" for s in waiting)]

    def _find_issuer_faults(self, tx: SqlTransaction) -> list[str]:
        domains = {d.aid: d for d in tx.security_domains.list(limit=100)}
        on_card = sorted(d.aid for d in self.card.state.domains)
        if on_card != [ISD_AID, SSD] or sorted(domains) != on_card:
            return [f"on the card {[aid.hex() for aid in on_card]}, on record {[aid.hex() for aid in sorted(domains)]}"]
        sets = tx.key_sets.list_for_domain(domains[SSD].id)
        found = [f"key version {s.kvn:02X} is {s.delivery}" for s in sets if s.state is KeyState.ACTIVE]
        found += [f"key version {s.kvn:02X} is {s.delivery}" for s in sets if s.delivery is not Delivery.REPLACED]
        if domains[SSD].state is not DomainState.HANDED_OVER:
            found.append(f"the SSD is {domains[SSD].state}")
        return found


@dataclass(frozen=True)
class PreparedTransfer:
    """A scenario's beginning: two closed database files, the card's memory, and who is there."""

    scenario: TransferScenario
    folder: Path
    state: CardState
    terminals: tuple[Terminal, Terminal]
    issuer_vault: SoftwareVault
    provider_vault: SoftwareVault

    def open_world(self, folder: Path, *, name: str = "session", first_id: int = 1_000_000_000) -> TransferWorld:
        folder.mkdir(exist_ok=True)
        paths = folder / "provider.db", folder / "issuer.db"
        for path in paths:
            shutil.copyfile(self.folder / path.stem / "kms.db", path)
        scenario = Scenario(self.scenario.name, scp_i=self.scenario.scp_i, profile=self.scenario.profile)
        return TransferWorld(
            paths[0],
            scenario,
            VirtualCard(self.state, random_bytes=build_card_random()),
            self.terminals,
            TickingClock(),
            {},
            name=name,
            first_id=first_id,
            issuer_path=paths[1],
            issuer_vault=self.issuer_vault,
            provider_vault=self.provider_vault,
        )


def build_card_random() -> Callable[[int], bytes]:
    """A card's challenges: never twice the same, and the same in each run."""
    numbers = iter(range(1, 1 << 60))
    return lambda length: (next(numbers) * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big")[:length]


def prepare_transfer(scenario: TransferScenario, folder: Path) -> PreparedTransfer:
    """Bring both platforms and the card to where the scenario begins."""
    stores = []
    for name in ("provider", "issuer"):
        (folder / name).mkdir()
        build_database(folder / name)
        stores.append(SqlStore(open_engine(folder / name / "kms.db")))
    issuer = build_issuer(kvn=scenario.kvn, scp_i=scenario.scp_i, profile=scenario.profile, store=stores[1])
    provider = build_provider(issuer, store=stores[0])
    if scenario.isd_forced:
        issuer.updates.force(IDENTITY, ISD_AID, actor="test")
    state = build_factory_state(kvn=scenario.kvn, scp02_i=scenario.scp_i)
    for store in stores:
        store.dispose()
    terminals = (provider.terminal, provider.other_terminal)
    prepared = PreparedTransfer(scenario, folder, state, terminals, issuer.vault, provider.vault)
    if not scenario.handed_over:
        return prepared
    world = prepared.open_world(folder / "before", name="before", first_id=100_000_000)
    world.present(provider.terminal, applies=True)
    if scenario.forced is not None:
        updates = UpdateService(store=world.store, clock=world.clock, identifiers=CountingIdentifiers(900_000_000))
        updates.force(IDENTITY, SSD, actor="test", reason=scenario.forced)
    close(world)
    for name in ("provider", "issuer"):
        shutil.copyfile(folder / "before" / f"{name}.db", folder / name / "kms.db")
    return PreparedTransfer(scenario, folder, world.card.state, terminals, issuer.vault, provider.vault)


def close(world: TransferWorld) -> None:
    """End both platforms' processes."""
    world.store.dispose()
    world.issuer.store.dispose()


def list_transfer_boundaries(prepared: PreparedTransfer, folder: Path) -> list[str]:
    """Every boundary that the scenario crosses when nothing goes wrong."""
    world = prepared.open_world(folder)
    world.present(world.terminals[0], applies=not prepared.scenario.handed_over)
    faults = world.find_faults()
    close(world)
    if faults:
        raise AssertionError(faults)
    return world.watcher.crossed


def cut_transfer_at(prepared: PreparedTransfer, folder: Path, boundary: str) -> Cut:
    """Run the scenario cut at a boundary, then present the card at either terminal as often as it takes.

    The first time to see what is pending, if the provider knows the card; after that its user applies again.
    """
    applies = not prepared.scenario.handed_over
    world = prepared.open_world(folder)
    world.watcher.target = boundary
    world.present(world.terminals[0], applies=applies)
    faults = world.find_faults()
    further = 0
    while faults and further < ENOUGH_VISITS:
        world.watcher.target = None
        again = applies and (further > 0 or not world.is_known())
        further += 1
        world.present(world.terminals[further % 2], applies=again)
        faults = world.find_faults()
    close(world)
    return Cut(boundary, further, tuple(faults))
