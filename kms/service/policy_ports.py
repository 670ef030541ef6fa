"""What policies and the sweeps that follow from them need of the database.

Rules: every operation of `Sweeps` is one statement over many rows, or a few, and bounded by `limit` where it writes, so
that each batch is a short transaction of its own and a sweep of any length needs no memory. A key set counts when it is
in force on its card: ACTIVE, PROVED, derived by a platform. It is served when its security domain is KEYED and managed
by this platform, on a card that is ENROLLED.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kms.domain.policies import PolicyBook, PolicyClass, PolicyVersion


@dataclass(frozen=True)
class Reach:
    """What one version of a policy reaches: its class without the narrower classes of others (`inner`)."""

    version: PolicyVersion
    inner: tuple[PolicyClass, ...] = ()


def build_reaches(book: PolicyBook) -> Sequence[Reach]:
    """What each policy of a book reaches; nothing is reached by two."""
    return [Reach(version, tuple(book.list_inner(version))) for version in book.versions]


@dataclass(frozen=True)
class Undated:
    """A served key set in force whose due date nobody knows. `proved_at`: None or too long ago to be true."""

    key_set_id: str
    card: bytes
    aid: bytes
    proved_at: datetime | None


@dataclass(frozen=True)
class Batch:
    """What one batch did: `rows` written, and where the next one begins; None after the last."""

    rows: int
    next: str | None


@dataclass(frozen=True)
class Asking:
    """Which expiry updates a sweep may ask for. `until`: those that are due then. `platform`: who manages.

    `retry_since`: where an update of the same security domain failed or was cancelled after it, nothing is asked for.
    `requested_by`: who is named in the updates.
    """

    version: PolicyVersion
    platform: str
    until: datetime
    retry_since: datetime
    requested_by: str


class PolicyRepository(Protocol):
    """Versions of policies; `add`, `get`, `save` as in every repository (`kms.service.ports.Repository`)."""

    def add(self, item: PolicyVersion) -> None:
        """Insert. Raises `input.conflict`."""
        ...

    def get(self, item_id: str) -> PolicyVersion:
        """Read by id. Raises `input.not-found`."""
        ...

    def save(self, item: PolicyVersion) -> None:
        """Write all columns of an existing row."""
        ...

    def load_book(self) -> PolicyBook:
        """All versions in force, by name."""
        ...

    def list_versions(self, name: str) -> Sequence[PolicyVersion]:
        """All versions of this name, the newest first."""
        ...

    def count_asked(self, name: str, day: str) -> int:
        """How many expiry updates the policy asked for on a day (`2026-01-31`)."""
        ...

    def add_asked(self, name: str, day: str, count: int) -> None:
        """Count more; two transactions that do so at once go one after the other (or `visit.conflict`)."""
        ...


class Sweeps(Protocol):
    """Statements over all key sets."""

    def count_coming_due(self, reach: Reach, platform: str, untils: Sequence[datetime]) -> Sequence[int]:
        """For each time: served sets that the version would make due until then and that are not by their dates now."""
        ...

    def settle(self, reach: Reach, after: str, limit: int) -> Batch:
        """Give the next sets in force that the version reaches the dates that follow from it. `after`: "" at first."""
        ...

    def release_ended(self, limit: int) -> int:
        """Take the dates from sets in force whose policy ended and that no other reaches; how many."""
        ...

    def is_settled(self) -> bool:
        """Whether no set in force follows from a version that ended."""
        ...

    def ask_expiry(self, asking: Asking, now: datetime, after: str, scan: int, limit: int) -> Batch:
        """Ask for an update of each of the next `scan` due sets that has none open, at most `limit`."""
        ...

    def count_waiting(self, asking: Asking) -> int:
        """Due sets without an open update: what `ask_expiry` without limits would ask for."""
        ...

    def give_notice(self, version: PolicyVersion, platform: str, days: int, now: datetime, limit: int) -> int:
        """Mark served sets that end within so many days and were not marked for so few; how many."""
        ...

    def count_noticed(self, version: PolicyVersion, platform: str, days: int, now: datetime) -> int:
        """Served sets in force that end within so many days and of which notice was given."""
        ...

    def count_undated(self, platform: str) -> int:
        """Served sets in force whose due date nobody knows."""
        ...

    def list_undated(self, platform: str, *, limit: int = 100, offset: int = 0) -> Sequence[Undated]:
        """The same, one by one, oldest first."""
        ...
