"""Runs of a program: prepared once, run without a fault to see what it crosses, then cut at one point at a time.

Rules: a run cut at a point must have been cut there. After it the card is presented again until all is as it must be;
the run without a fault says what that is: the same key sets in force, made by as many changes of the card.
"""

import hashlib
import itertools
import shutil
from dataclasses import dataclass, replace

from kms.db.store import SqlStore
from kms.domain.cards import CardState as RecordState
from kms.domain.keys import KeyState
from kms.domain.visits import TerminalState
from kms.service.updates import UpdateService
from tests.fakes.issuer import IDENTITY, Issuer, build_issuer
from tests.fakes.records import CountingIdentifiers
from tests.fakes.scene import build_card_state
from tests.faults.databases import RunDatabase
from tests.faults.pkcs11_calls import CallFault
from tests.faults.points import ELSEWHERE, Boundary, Point
from tests.faults.programs import Program
from tests.faults.token import Tokens
from tests.faults.world import FaultWorld, get_certificate

ENOUGH_VISITS = 4
DOUBLED = "done twice"
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """What a run left. `in_force`: key sets by domain; `key_changes`: how often the card's keys or domains changed."""

    in_force: tuple[tuple[str, int, int, str], ...]
    updates: int
    key_changes: int


@dataclass(frozen=True)
class Result:
    """A point's run. `further_visits`: presentations it took after the first; `wrong`: what is wrong in the end."""

    point: Point
    further_visits: int
    wrong: tuple[str, ...]


class Prepared:
    """A program's beginning: records, and the card's memory. `crossed`: the boundaries of a run without a fault."""

    def __init__(self, program: Program, database: RunDatabase, tokens: Tokens) -> None:
        self.program = program
        self._database = database
        self._token = tokens.get(program.vendor_type)
        self._folder = tokens.folder / f"runs-{next(_NUMBERS)}"
        self.state = build_card_state(program.kvn, program.scp02_i, program.scp03_i, program.vendor_type)
        self._prepare()
        self.crossed, self._expected = self._run_whole()

    def _prepare(self) -> None:
        program, store = self.program, self._database.open_store()
        issuer = build_issuer(
            kvn=program.kvn,
            scp_i=program.scp02_i,
            scp03_i=program.scp03_i,
            vendor_type=program.vendor_type,
            profile=program.profile,
            store=store,
        )
        _certify(store, issuer)
        self._database.keep()
        if not program.creates and program.kvn != 0xFF:
            world = self._open_world(first_id=100_000_000)
            world.present(applies=True)
            if faults := world.find_faults():
                raise AssertionError(faults)
            self.state = world.card.state
        updates = UpdateService(store=store, clock=issuer.clock, identifiers=CountingIdentifiers(900_000_000))
        for aid in program.forced:
            updates.force(IDENTITY, aid, actor="test")
        self._database.keep()

    def _run_whole(self) -> tuple[list[Boundary], Outcome]:
        world = self.begin()
        world.present(applies=self.program.creates)
        if faults := [*world.heard, *world.find_faults()]:
            raise AssertionError(f"{self.program.name}: {faults}")
        return world.watcher.crossed, read_outcome(world)

    def cut(self, point: Point) -> Result:
        """Run the program cut at a point, then present the card again as often as it takes."""
        world = self.begin()
        world.watcher.target = (point.boundary, point.fault)
        world.present(applies=self.program.creates)
        if not world.watcher.fired:
            raise AssertionError(f"not crossed: {point}")
        world.watcher.target, world.watcher.counting = None, False
        elsewhere = 1 if point.fault in ELSEWHERE else 0
        further, wrong = 0, self.find_wrong(world)
        while wrong and further < ENOUGH_VISITS:
            further += 1
            world.present(elsewhere, applies=self.program.creates and not world.has_applied)
            wrong = self.find_wrong(world)
        if elsewhere and not wrong:
            world.come_back_without_card()
            wrong = self.find_wrong(world)
        return Result(point, further, tuple(wrong))

    def close(self) -> None:
        """No more runs."""
        self._database.close()

    def find_wrong(self, world: FaultWorld) -> list[str]:
        """What is not as it is without a fault, or needs a person."""
        outcome, expected = read_outcome(world), self._expected
        wrong = [*world.unexpected, *world.find_faults(), *find_set_aside(world.store)]
        if outcome.key_changes > expected.key_changes:
            wrong.append(f"{DOUBLED}: the card's keys changed {outcome.key_changes} times, not {expected.key_changes}")
        if not wrong and outcome != expected:
            wrong.append(f"another outcome than without a fault: {outcome}, expected {expected}")
        return wrong

    def begin(self) -> FaultWorld:
        """A world in which nothing has happened yet."""
        self._token.calls.watch = lambda _name: CallFault.NONE
        self._token.open_anew()
        self._database.renew()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._open_world()

    def _open_world(self, first_id: int = 1_000_000_000) -> FaultWorld:
        return FaultWorld(self.program, self._database, self._token, self._folder, self.state, first_id=first_id)


def read_outcome(world: FaultWorld) -> Outcome:
    """What is on record in the end."""
    with world.store.transaction() as tx:
        in_force = [
            (domain.aid.hex().upper(), item.kvn, item.generation, str(item.key_type))
            for domain in tx.security_domains.list(limit=100)
            for item in tx.key_sets.list_for_domain(domain.id)
            if item.state is KeyState.ACTIVE
        ]
        updates = len(tx.key_updates.list(limit=1000))
    return Outcome(tuple(sorted(in_force)), updates, world.key_changes)


def find_set_aside(store: SqlStore) -> list[str]:
    """Cards and terminals that are no longer served: each needs a person."""
    with store.transaction() as tx:
        cards = [card.state for card in tx.cards.list(limit=10) if card.state is not RecordState.ENROLLED]
        terminals = [item.name for item in tx.terminals.list(limit=10) if item.state is not TerminalState.ENROLLED]
    return [*(f"the card is {state}" for state in cards), *(f"{name} is not served" for name in terminals)]


def _certify(store: SqlStore, issuer: Issuer) -> None:
    """Have both terminals known by the certificates that they show."""
    with store.transaction() as tx:
        for number, terminal in enumerate((issuer.terminal, issuer.other_terminal)):
            tx.terminals.save(replace(terminal, fingerprint=hashlib.sha256(get_certificate(number)).digest()))
