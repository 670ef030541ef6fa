"""The fault campaign: which points there are, which of them are run, on how many processes, and what came of it.

Rules: the main programs are cut at every point, the others at a sample drawn with a seed; the same sample of the main
programs is repeated on PostgreSQL and does not count again. What is left out is said.
"""

import contextlib
import logging
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import Protocol

from tests.fakes.postgres import get_cluster
from tests.faults.databases import PostgresRun, SqliteRun
from tests.faults.points import Kind, Point, list_points
from tests.faults.programs import MAIN, PROGRAMS, Program
from tests.faults.runs import Prepared, Result
from tests.faults.token import Tokens

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
CHUNK = 20  # points that a process takes at a time


@dataclass(frozen=True)
class Share:
    """Points of one program on one database. `total`: how many the program has."""

    program: Program
    database: str
    points: tuple[Point, ...]
    total: int


@dataclass(frozen=True)
class Done:
    """A share's results."""

    share: Share
    results: tuple[Result, ...]


class Runner(Protocol):
    """What runs points: `Bench` in this process, `Benches` in several."""

    def list_all(self, program: Program) -> list[Point]:
        """Every point of the program."""
        ...

    def run(self, shares: Sequence[Share], progress: Callable[[int], None]) -> list[Done]:
        """Run the points of all shares. `progress`: told how many are done."""
        ...


class Bench:
    """Runs points in this process."""

    def __init__(self) -> None:
        self._tokens = Tokens()
        self._prepared: dict[tuple[str, str], Prepared] = {}

    def list_all(self, program: Program) -> list[Point]:
        return list_points(program.name, self.prepare(program, SQLITE).crossed)

    def run(self, shares: Sequence[Share], progress: Callable[[int], None] = lambda _count: None) -> list[Done]:
        done = []
        for share in shares:
            done.append(Done(share, tuple(self.cut_all(share.program, share.database, share.points))))
            progress(len(share.points))
        return done

    def cut_all(self, program: Program, database: str, points: Iterable[Point]) -> list[Result]:
        prepared = self.prepare(program, database)
        with quiet():
            return [_cut(prepared, point) for point in points]

    def close(self) -> None:
        for prepared in self._prepared.values():
            prepared.close()
        self._tokens.close()

    def prepare(self, program: Program, database: str) -> Prepared:
        """The program's beginning on a database, made once."""
        key = program.name, database
        if key not in self._prepared:
            folder = self._tokens.folder / f"database-{len(self._prepared)}"
            made = PostgresRun() if database == POSTGRESQL else SqliteRun(folder)
            with quiet():
                self._prepared[key] = Prepared(program, made, self._tokens)
        return self._prepared[key]


class Benches:
    """Runs points in several processes, each with a token and databases of its own."""

    def __init__(self, processes: int) -> None:
        # Spawned: a PKCS#11 library does not survive a fork.
        self._ahead = 2 * processes
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    def list_all(self, program: Program) -> list[Point]:
        return self._pool.submit(_list_all, program.name).result()

    def run(
        self, shares: Sequence[Share], progress: Callable[[int], None], goes_on: Callable[[], bool] = lambda: True
    ) -> list[Done]:
        """Run in the order of `interleave`, so that what was not begun when `goes_on` says no is missing everywhere."""
        results: dict[int, list[Result]] = {number: [] for number in range(len(shares))}
        todo = list(interleave(shares))
        waiting: dict[Future[list[Result]], int] = {}
        while waiting or (todo and goes_on()):
            while todo and len(waiting) < self._ahead and goes_on():
                number, chunk = todo.pop(0)
                share = shares[number]
                waiting[self._pool.submit(_cut_all, share.program.name, share.database, chunk)] = number
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                found = future.result()
                results[waiting.pop(future)] += found
                progress(len(found))
        return [Done(share, tuple(results[number])) for number, share in enumerate(shares)]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@cache
def _get_bench() -> Bench:
    bench = Bench()
    Finalize(None, bench.close, exitpriority=1)  # a pool's process calls no atexit handlers
    return bench


def _list_all(program: str) -> list[Point]:
    return _get_bench().list_all(find_program(program))


def _cut_all(program: str, database: str, points: Sequence[Point]) -> list[Result]:
    if database == POSTGRESQL and not get_cluster.cache_info().currsize:
        Finalize(None, get_cluster().remove, exitpriority=0)
    return _get_bench().cut_all(find_program(program), database, points)


def _cut(prepared: Prepared, point: Point) -> Result:
    try:
        return prepared.cut(point)
    except Exception as error:  # noqa: BLE001 - one run that breaks is a finding, not the end of the others
        return Result(point, 0, (f"the run broke: {type(error).__name__}: {error}",))


def find_program(name: str) -> Program:
    return next(program for program in PROGRAMS if program.name == name)


def plan_whole(runner: Runner, seed: int, extra: int) -> list[Share]:
    """The main programs whole; of the others, and of the main ones on PostgreSQL, a sample of `extra` points more."""
    shares = []
    for program in PROGRAMS:
        points = runner.list_all(program)
        sample = draw(points, seed, extra)
        everything = draw(points, seed, len(points))  # in an order that has one of each fault first
        shares.append(Share(program, SQLITE, tuple(everything if program in MAIN else sample), len(points)))
        if program in MAIN:
            shares.append(Share(program, POSTGRESQL, tuple(sample), len(points)))
    return shares


def plan_sample(runner: Runner, seed: int, extra: int) -> list[Share]:
    """A part of the main programs' points, in which no fault of any kind of boundary is missing.

    What becomes of a commit is repeated on PostgreSQL for one of them.
    """
    every = {program.name: runner.list_all(program) for program in MAIN}
    chosen = set(draw([point for points in every.values() for point in points], seed, extra))
    shares = []
    for program in MAIN:
        points = every[program.name]
        shares.append(Share(program, SQLITE, tuple(point for point in points if point in chosen), len(points)))
    first = every[MAIN[0].name]
    commits = draw([point for point in first if point.boundary.kind is Kind.COMMIT], seed, 0)
    return [*shares, Share(MAIN[0], POSTGRESQL, tuple(commits), len(first))]


def interleave(shares: Sequence[Share]) -> Iterator[tuple[int, tuple[Point, ...]]]:
    """The shares' points in chunks, a chunk of each share after the other; each with its share's index."""
    chunks = [
        [(number, share.points[first : first + CHUNK]) for first in range(0, len(share.points), CHUNK)]
        for number, share in enumerate(shares)
    ]
    for row in zip_longest(*chunks):
        yield from (chunk for chunk in row if chunk is not None)


def draw(points: Sequence[Point], seed: int, extra: int) -> list[Point]:
    """One point of each fault at each kind of boundary, and `extra` more."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    shuffled = chance.sample(points, len(points))
    one_of_each = {(point.boundary.kind, point.fault): point for point in shuffled}
    return list(dict.fromkeys([*one_of_each.values(), *shuffled[:extra]]))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the server's log of what went wrong, and without python-pkcs11's complaints.

    It ends a search when its iterator is collected, and where the token is gone by then it can only say so on stderr.
    """
    before, excepthook, unraisablehook = logging.root.manager.disable, sys.excepthook, sys.unraisablehook
    logging.disable(logging.CRITICAL)
    sys.excepthook = lambda kind, error, trace: None if _is_of_pkcs11(kind) else excepthook(kind, error, trace)
    sys.unraisablehook = lambda raised: None if _is_of_pkcs11(raised.exc_type) else unraisablehook(raised)
    try:
        yield
    finally:
        logging.disable(before)
        sys.excepthook, sys.unraisablehook = excepthook, unraisablehook


def _is_of_pkcs11(kind: type[BaseException]) -> bool:
    return kind.__module__ == "pkcs11.exceptions"
