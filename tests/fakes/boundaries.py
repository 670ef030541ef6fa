"""Every boundary at which a visit can be cut, by name, and the world in which a test cuts it there.

One run of a scenario without a fault lists the boundaries it crosses; `walk` runs the scenario again for each of them,
with the fault that the boundary's name says, and then lets the card be presented again as often as it takes. The
services, the database file and the card are the real ones; the terminal here does what a faithful one does.
"""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine, event

from kms.card.profile import CardProfile
from kms.config import CatalogueEntry
from kms.db.engine import build_engine
from kms.db.store import SqlStore, SqlTransaction
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.updates import UpdateReason
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError
from kms.service.applications import ApplicationService
from kms.service.relay import Relay
from kms.service.updates import UpdateService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from terminal.instructions import find_name
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.model import CardState
from terminal.virtual_card.personality import Personality, build_factory_state
from tests.fakes.examination import Examination
from tests.fakes.issuer import (
    APPLICATION_AID,
    IDENTITY,
    ISD_AID,
    MASTER_VALUES,
    SSD_AID,
    SoftwareVault,
    away,
    build_issuer,
    build_requests,
)
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import SoftwareKeys
from tests.fakes.stores import build_database

T = TypeVar("T")

# What can go wrong, as the names of boundaries begin; the rest of a name says where (`... APDU 4 PUT KEY`).
FAULTS = (
    "card pulled before",  # the command never reached it; the terminal says so in its Report
    "card pulled after",  # it acted, and its answer did not come
    "card torn before",  # power lost before its commit; the agent carries on with the card that came back
    "card torn after",  # power lost after its commit; the same
    "request lost",  # the terminal sends the same again
    "answer lost",  # the server acted; the terminal sends the same again
    "terminal killed, goes on",  # its journal knows the visit, not the answers: void Report without a cookie
    "terminal killed, comes again",  # nothing left of the visit: a new one at the same terminal
    "terminal killed, card elsewhere",  # a new visit at another terminal
    "server crashed before commit",  # a new process over the same database; the terminal sends the same again
    "server crashed after commit",
    "HSM away at the start of scope",  # `hsm.unavailable`; the terminal sends the same again
    "HSM away at the end of scope",
)
TERMINAL_KILLED = FAULTS[6:9]
ENOUGH_VISITS = 4
VOID = Report(AgentStatus.POLLING, None)


class CrashError(Exception):
    """The server's process ended."""


class KilledError(Exception):
    """The terminal's process ended. `how`: which of TERMINAL_KILLED."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@cache
def open_engine(path: Path) -> Engine:
    """One engine for all processes over a file: it keeps nothing but compiled statements when it is disposed of."""
    engine = build_engine(f"sqlite:///{path}")
    # A crash here is an exception, not a power cut: what was committed is in the file without fsync.
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    return engine


@dataclass(frozen=True)
class Scenario:
    """A visit's work. `applied_before`: the SSD is there when it begins; `applies`: flow 2 step 1 is part of it."""

    name: str
    kvn: int = 0x01
    scp_i: int = 0x55
    profile: CardProfile = field(default_factory=lambda: CardProfile(name="default"))
    personality: Personality = field(default_factory=Personality)
    applied_before: bool = False
    forced: tuple[bytes, ...] = ()
    reason: UpdateReason = UpdateReason.FORCED
    applies: bool = False


def build_scenarios(scp_i: int) -> tuple[Scenario, ...]:
    """The programs, each in the visit it belongs to, for cards of one SCP02 option."""
    r_mac = bool(scp_i & 0x20)
    default = CardProfile(name="default", r_mac=r_mac)
    put_key = CardProfile(name="default", initial_key_route="put-key", r_mac=r_mac)
    keeps = Personality(keep_factory_set=True)
    made = (
        Scenario("ISD take-over from FF, kept by the card", kvn=0xFF, personality=keeps, forced=(ISD_AID,)),
        Scenario("ISD take-over from FF, dropped by the card", kvn=0xFF, forced=(ISD_AID,)),
        Scenario("ISD take-over from 01", forced=(ISD_AID,)),
        Scenario("SSD by STORE DATA, on to operative keys", applies=True),
        Scenario("SSD by PUT KEY, on to operative keys", profile=put_key, applies=True),
        Scenario("ISD take-over from FF, then SSD", kvn=0xFF, personality=keeps, forced=(ISD_AID,), applies=True),
        Scenario("SSD rotation", applied_before=True, forced=(SSD_AID,)),
        Scenario("ISD and SSD rotation", applied_before=True, forced=(ISD_AID, SSD_AID)),
        Scenario("SSD compromised", applied_before=True, forced=(SSD_AID,), reason=UpdateReason.COMPROMISE),
    )
    return tuple(replace(s, scp_i=scp_i, profile=s.profile if s.profile == put_key else default) for s in made)


@dataclass
class Watcher:
    """Notes the boundaries that a visit crosses, and says at which one it is cut."""

    target: str | None = None
    crossed: list[str] = field(default_factory=list)

    def hit(self, fault: str, where: str) -> bool:
        name = f"{fault} {where}"
        self.crossed.append(name)
        if name != self.target:
            return False
        self.target = None
        return True


@dataclass
class World(Examination):
    """A platform's database file, a card, and the processes around them."""

    path: Path
    scenario: Scenario
    card: VirtualCard
    terminals: tuple[Terminal, Terminal]
    clock: TickingClock
    masters: dict[bytes, bytes]
    name: str = "session"
    first_id: int = 1_000_000_000
    application_aid: bytes = APPLICATION_AID
    watcher: Watcher = field(default_factory=Watcher)
    visits_made: int = 0
    requests: int = 0
    apdus: int = 0
    commits: int = 0
    scopes: int = 0
    sent: list[bytes] = field(default_factory=list)
    key_values: dict[tuple[str, str, int], tuple[int, tuple[bytes, ...]]] = field(default_factory=dict)
    _processes: int = 0
    _challenges: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.start_server()

    def start_server(self) -> None:
        """A new process of the platform over the same database file."""
        self._processes += 1
        self.store = SqlStore(open_engine(self.path))
        vault = SoftwareVault(self.masters)
        open_scope = vault.open_scope

        @contextmanager
        def watched_scope() -> Iterator[SoftwareKeys]:
            self.scopes += 1
            if self.watcher.hit("HSM away at the start of scope", str(self.scopes)):
                raise away()
            with open_scope() as keys:
                yield keys
            if self.watcher.hit("HSM away at the end of scope", str(self.scopes)):
                raise away()

        vault.open_scope = watched_scope  # type: ignore[method-assign] # the fault stands before the real scope
        store = WatchedStore(self)
        identifiers = CountingIdentifiers(self.first_id + 1_000_000 * self._processes)
        self.visits = VisitService(
            store=store,  # type: ignore[arg-type] # visits use transactions alone
            vault=vault,  # type: ignore[arg-type] # visits use scopes alone
            clock=self.clock,
            identifiers=identifiers,
            entropy=lambda length: next(self._challenges).to_bytes(length, "little"),
            platform="issuer",
            profiles={"default": self.scenario.profile},
            limits=VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0),
            relay=Relay({}),
        )
        self.applications = ApplicationService(
            store=store,  # type: ignore[arg-type] # the same
            clock=self.clock,
            identifiers=identifiers,
            visits=self.visits,
            catalogue=(CatalogueEntry(aid=APPLICATION_AID, name="ticket", ssd_aid=SSD_AID, privileges=b"\x80"),),
            platform="issuer",
            new_session_id=self.new_session,
            requests=build_requests(store, self.clock, identifiers),  # type: ignore[arg-type] # the same
        )

    def new_session(self) -> str:
        self.visits_made += 1
        return f"{self.name}-{self._processes}-{self.visits_made}"

    def present(self, terminal: Terminal, *, applies: bool = False, session: str | None = None) -> None:
        """Present the card at a terminal once, with its process killed at most once."""
        self.clock.move(minutes=1)
        try:
            if applies:
                session = self._request(lambda: self._apply(terminal))
            self._visit(terminal, session or self.new_session())
        except KilledError as killed:
            if killed.how == "terminal killed, goes on":
                self.card.reset()
                self._reports(terminal, self._session, VOID)
            elif killed.how == "terminal killed, card elsewhere":
                self._visit(self.terminals[1], self.new_session())
            else:
                self._visit(terminal, self.new_session())

    def _apply(self, terminal: Terminal) -> str:
        return self.applications.apply(terminal, IDENTITY, self.application_aid).session_id

    def _visit(self, terminal: Terminal, session: str) -> None:
        self._session = session
        self.card.reset()
        self._request(lambda: self.visits.handshake(terminal, session, [IDENTITY]))
        self._reports(terminal, session, VOID)

    def _reports(self, terminal: Terminal, session: str, report: Report) -> None:
        while True:
            order = self._report(terminal, session, report)
            if order.stop:
                return
            for how in TERMINAL_KILLED:
                if self.watcher.hit(how, f"with Order {order.number}"):
                    raise KilledError(how)
            report = self._transmit(order)

    def _report(self, terminal: Terminal, session: str, report: Report) -> Order:
        return self._request(lambda: self.visits.report(terminal, session, report))

    def _request(self, send: Callable[[], T]) -> T:
        """An HTTP request, sent until its answer arrives."""
        self.requests += 1
        where = f"request {self.requests}"
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
                if error.code is not Code.HSM_UNAVAILABLE:
                    raise
                continue
            if not self.watcher.hit("answer lost", where):
                return answer

    def _transmit(self, order: Order) -> Report:
        answers: list[bytes] = []
        gone = False
        for command in order.commands:
            if gone:
                answers.append(b"")
                continue
            self.apdus += 1
            where = f"APDU {self.apdus} {find_name(command)}"
            gone = self.watcher.hit("card pulled before", where)
            torn = self.watcher.hit("card torn before", where)
            if gone or torn:
                self.card.reset()
                answers.append(b"")
                continue
            self.sent.append(command)
            answer = self.card.transmit(command)
            gone = self.watcher.hit("card pulled after", where)
            if gone or self.watcher.hit("card torn after", where):
                self.card.reset()
                answer = b""
            answers.append(answer)
            for how in TERMINAL_KILLED:
                if self.watcher.hit(how, f"after {where}"):
                    raise KilledError(how)
        status = AgentStatus.UNAVAILABLE_SE if gone else AgentStatus.PROCESSED
        return Report(status, order.number, tuple(answers))


class WatchedStore:
    """The world's database, with a crash before or after any commit."""

    def __init__(self, world: World) -> None:
        self._world = world

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        world = self._world
        with world.store.transaction() as tx:
            yield tx
            world.commits += 1
            number = world.commits
            if world.watcher.hit("server crashed before commit", str(number)):
                raise CrashError
        if world.watcher.hit("server crashed after commit", str(number)):
            raise CrashError

    def reading(self) -> AbstractContextManager[SqlTransaction]:
        """Nothing is written: to crash here is to crash before the next commit."""
        return self._world.store.reading()


@dataclass(frozen=True)
class Prepared:
    """A scenario's beginning: a closed database file, the card's memory, and who is there."""

    scenario: Scenario
    path: Path
    state: CardState
    terminals: tuple[Terminal, Terminal]
    masters: dict[bytes, bytes]

    def open_world(self, path: Path) -> World:
        shutil.copyfile(self.path, path)
        numbers = itertools.count()
        card = VirtualCard(
            self.state,
            self.scenario.personality,
            random_bytes=lambda length: hashlib.sha256(str(next(numbers)).encode()).digest()[:length],
        )
        return World(path, self.scenario, card, self.terminals, TickingClock(), self.masters)


def prepare(scenario: Scenario, folder: Path) -> Prepared:
    """Bring platform and card to where the scenario begins."""
    url = build_database(folder)
    store = SqlStore(build_engine(url))
    issuer = build_issuer(kvn=scenario.kvn, scp_i=scenario.scp_i, profile=scenario.profile, store=store)
    path = folder / "kms.db"
    with store.transaction() as tx:
        masters = {m.object_id: MASTER_VALUES[m.kind] for m in tx.master_keys.list()}
    state = build_factory_state(kvn=scenario.kvn, scp02_i=scenario.scp_i)
    if scenario.applied_before:
        world = World(
            path,
            scenario,
            VirtualCard(state, scenario.personality),
            (issuer.terminal, issuer.other_terminal),
            issuer.clock,
            masters,
            name="before",
            first_id=0,
        )
        world.present(issuer.terminal, applies=True)
        world.store.dispose()
        state = world.card.state
    updates = UpdateService(store=store, clock=issuer.clock, identifiers=CountingIdentifiers(900_000_000))
    for aid in scenario.forced:
        updates.force(IDENTITY, aid, actor="test", reason=scenario.reason)
    store.dispose()
    return Prepared(scenario, path, state, (issuer.terminal, issuer.other_terminal), masters)


def list_boundaries(prepared: Prepared, path: Path) -> list[str]:
    """Every boundary that the scenario crosses when nothing goes wrong."""
    world = prepared.open_world(path)
    world.present(world.terminals[0], applies=world.scenario.applies)
    faults = world.find_faults()
    world.store.dispose()
    if faults:
        raise AssertionError(faults)
    return world.watcher.crossed


@dataclass(frozen=True)
class Cut:
    """One run. `further_visits`: how often the card had to be presented again; `faults`: what is wrong in the end."""

    boundary: str
    further_visits: int
    faults: tuple[str, ...]


def cut_at(prepared: Prepared, path: Path, boundary: str, again: Sequence[str] = ()) -> Cut:
    """Run the scenario cut at a boundary; `again`: where the visits after it are cut."""
    world = prepared.open_world(path)
    world.watcher.target = boundary
    world.present(world.terminals[0], applies=world.scenario.applies)
    faults = world.find_faults()
    further = 0
    cuts = list(again)
    while (faults or cuts) and further < ENOUGH_VISITS + len(again):
        further += 1
        if cuts:
            world.requests = world.apdus = world.commits = world.scopes = 0
            world.watcher.target = cuts.pop(0)
        else:
            world.watcher.target = None
        world.present(world.terminals[0])
        faults = world.find_faults()
    world.store.dispose()
    return Cut(boundary, further, tuple(faults))
