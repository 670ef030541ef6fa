"""Where a run can be cut, and how: a point is a program, a boundary and a fault.

Rules: a boundary is a place in a program, counted from the program's beginning: the Nth APDU, HTTP request, step of the
terminal, database transaction or PKCS#11 call, with its name. A run without a fault lists them; each is then cut by
each fault of its kind. The same point again, on another database say, is a repetition and counts once.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What is crossed at a boundary."""

    APDU = "APDU"
    REQUEST = "HTTP request"
    STEP = "terminal step"
    COMMIT = "commit"
    READING = "database reading"
    CALL = "HSM call"


class Fault(StrEnum):
    """What goes wrong. `now`: the next request finds it back; `longer`: it is away until the terminal gives up."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    WORKER_KILLED_BEFORE = "worker killed before"
    WORKER_KILLED_AFTER = "worker killed after"
    WORKER_KILLED_MEANWHILE = "worker killed meanwhile"
    TERMINAL_KILLED_BEFORE = "terminal killed before, comes back"
    TERMINAL_KILLED_AFTER = "terminal killed after, comes back"
    ELSEWHERE_BEFORE = "terminal killed before, card elsewhere"
    ELSEWHERE_AFTER = "terminal killed after, card elsewhere"
    CARD_PULLED_BEFORE = "card pulled before"
    CARD_PULLED_AFTER = "card pulled after"
    TORN_BEFORE = "torn before its commit"
    TORN_AFTER = "torn after its commit"
    HSM_AWAY = "HSM away now"
    HSM_AWAY_LONGER = "HSM away longer"
    HSM_RESTARTED = "HSM sessions lost"
    HSM_MOVED = "token directory moved now"
    HSM_MOVED_LONGER = "token directory moved longer"
    DATABASE_AWAY = "database away now"
    DATABASE_AWAY_LONGER = "database away longer"
    DATABASE_READ_ONLY = "database read-only now"
    COMMIT_FAILS = "commit fails"
    COMMIT_UNKNOWN = "commit done, said to fail"


ELSEWHERE = (Fault.ELSEWHERE_BEFORE, Fault.ELSEWHERE_AFTER)

# By which faults each kind of boundary is cut.
FAULTS: dict[Kind, tuple[Fault, ...]] = {
    Kind.APDU: (
        Fault.CARD_PULLED_BEFORE,
        Fault.CARD_PULLED_AFTER,
        Fault.TORN_BEFORE,
        Fault.TORN_AFTER,
        Fault.TERMINAL_KILLED_BEFORE,
        Fault.TERMINAL_KILLED_AFTER,
        Fault.ELSEWHERE_BEFORE,
        Fault.ELSEWHERE_AFTER,
        Fault.WORKER_KILLED_MEANWHILE,
        Fault.HSM_RESTARTED,
    ),
    Kind.REQUEST: (
        Fault.REQUEST_LOST,
        Fault.ANSWER_LOST,
        Fault.WORKER_KILLED_BEFORE,
        Fault.WORKER_KILLED_AFTER,
        Fault.TERMINAL_KILLED_BEFORE,
        Fault.TERMINAL_KILLED_AFTER,
        Fault.ELSEWHERE_BEFORE,
        Fault.ELSEWHERE_AFTER,
        Fault.CARD_PULLED_BEFORE,
        Fault.HSM_AWAY,
        Fault.HSM_AWAY_LONGER,
        Fault.HSM_RESTARTED,
        Fault.HSM_MOVED,
        Fault.HSM_MOVED_LONGER,
        Fault.DATABASE_AWAY,
        Fault.DATABASE_AWAY_LONGER,
        Fault.DATABASE_READ_ONLY,
    ),
    Kind.STEP: (Fault.TERMINAL_KILLED_AFTER, Fault.ELSEWHERE_AFTER),
    Kind.COMMIT: (
        Fault.WORKER_KILLED_BEFORE,
        Fault.WORKER_KILLED_AFTER,
        Fault.COMMIT_FAILS,
        Fault.COMMIT_UNKNOWN,
        Fault.DATABASE_AWAY,
        Fault.DATABASE_AWAY_LONGER,
        Fault.DATABASE_READ_ONLY,
    ),
    Kind.READING: (Fault.WORKER_KILLED_BEFORE, Fault.DATABASE_AWAY, Fault.DATABASE_AWAY_LONGER),
    Kind.CALL: (
        Fault.REQUEST_LOST,
        Fault.ANSWER_LOST,
        Fault.WORKER_KILLED_BEFORE,
        Fault.HSM_AWAY,
        Fault.HSM_AWAY_LONGER,
        Fault.HSM_RESTARTED,
        Fault.HSM_MOVED,
    ),
}

# At calls these are a sample, every SAMPLED_EVERY-th: they take longest, and HSM_AWAY comes first in each of them.
SAMPLED = (Fault.HSM_MOVED, Fault.HSM_AWAY_LONGER)
SAMPLED_EVERY = 10


@dataclass(frozen=True)
class Boundary:
    """The `number`-th of its kind, from 1, in a program; `name`: what it was in the run without a fault."""

    kind: Kind
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number} {self.name}".rstrip()


@dataclass(frozen=True)
class Point:
    """One cut of one program."""

    program: str
    boundary: Boundary
    fault: Fault

    def __str__(self) -> str:
        return f"{self.program}: {self.boundary}: {self.fault}"


@dataclass
class Watcher:
    """Counts the boundaries of a run, and says at which one it is cut, by what."""

    target: tuple[Boundary, Fault] | None = None
    crossed: list[Boundary] = field(default_factory=list)
    counting: bool = True
    fired: bool = False
    _numbers: dict[Kind, int] = field(default_factory=dict)

    def cross(self, kind: Kind, name: str) -> Fault | None:
        """Cross a boundary: the fault that strikes here, None as a rule."""
        if not self.counting:
            return None
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        boundary = Boundary(kind, number, name)
        self.crossed.append(boundary)
        if self.target is None or self.target[0] != boundary:
            return None
        self.fired = True
        return self.target[1]


def list_points(program: str, crossed: list[Boundary]) -> list[Point]:
    """Every point of a program whose run without a fault crosses these boundaries."""
    return [
        Point(program, boundary, fault)
        for boundary in crossed
        for fault in FAULTS[boundary.kind]
        if not (boundary.kind is Kind.CALL and fault in SAMPLED and boundary.number % SAMPLED_EVERY)
    ]
