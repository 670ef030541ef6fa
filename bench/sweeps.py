"""The expiry sweep and the pending list over large tables, each in a process of its own.

Rules: tables are filled set-based, past the server; a tenth of the key sets is due. The sweep is the scheduler's own
(`SweepService.sweep_expiry`) with caps above what is due; beside it stands the one bare INSERT ... SELECT that adds the
same rows and knows no caps, no audit log and no batches. Run as `python -m bench.sweeps` with `Job` as JSON on standard
input.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, create_engine, insert, literal, literal_column, select, text

from kms.bootstrap import TimeOrderedIdentifiers
from kms.card.keys import DerivationPurpose
from kms.db.engine import parse_url
from kms.db.models import CardRow, KeySetRow, KeyUpdateRow, MasterKeyRow, PolicyVersionRow, SecurityDomainRow
from kms.db.repositories.base import build_values
from kms.db.store import SqlStore, open_store
from kms.domain.keys import Delivery, KeyState
from kms.domain.pending import PendingCursor, PendingFilter
from kms.domain.updates import UpdateReason, UpdateState
from kms.service.pending import PendingService
from kms.service.policy_ports import Asking
from kms.service.sweeps import ACTOR, SweepService
from tests.fakes.policies import build_policy, build_version
from tests.fakes.records import (
    build_card,
    build_domain,
    build_id,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHUNKS = 100  # of rows that share a due time
DUE_EVERY = 10
SEED = 1
PAGE = 100  # updates


@dataclass(frozen=True)
class Job:
    """`url`: of an empty database with the newest schema; `filling_url`: the same for its superuser."""

    url: str
    filling_url: str
    size: int
    fetches: int = 0


@dataclass(frozen=True)
class Swept:
    """Seconds of wall clock; `peak`: bytes of memory at most in the sweep, `peak_growth`: beyond what it began with.

    `fetches`: seconds of each page of the pending list with `size` updates pending, in order of length.
    """

    size: int
    due: int
    sweep: float
    bare: float
    peak: int
    peak_growth: int
    fetches: tuple[float, ...] = ()


class _Clock:
    def now(self) -> datetime:
        """The time of the sweep."""
        return NOW


def run(job: Job) -> Swept:
    """Fill the tables and measure."""
    fill(job.filling_url, job.size)
    store = open_store(job.url)
    try:
        bare = [_measure_bare(store, job)[0] for _ in range(2)][1]  # the first finds the table's file short
        service = SweepService(store=store, clock=_Clock(), identifiers=TimeOrderedIdentifiers(), platform="issuer")
        service.sweep_expiry(NOW - timedelta(days=30))  # nothing was due: statements are compiled, as the bare one is
        before = _read_memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the most so far begins anew
        began = time.perf_counter()
        swept = service.sweep_expiry(NOW)
        seconds = time.perf_counter() - began
        after = _read_memory("VmHWM")
        if swept.created != job.size // DUE_EVERY:
            raise RuntimeError(f"the sweep asked for {swept.created} updates")
        fetches: tuple[float, ...] = ()
        if job.fetches:
            _empty(job.filling_url)
            _fill_updates(job.filling_url, job.size)
            fetches = tuple(sorted(_fetch_pages(store, job.fetches)))
        return Swept(job.size, swept.created, seconds, bare, after, after - before, fetches)
    finally:
        store.dispose()


def _read_memory(name: str) -> int:
    """Bytes of this process: `VmRSS` (now) or `VmHWM` (the most so far), proc(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _measure_bare(store: SqlStore, job: Job) -> tuple[float, int]:
    """The one statement, and a deletion that is not measured. Seconds and rows."""
    with store.reading() as tx:
        (version,) = tx.policies.load_book().versions
    asking = Asking(version, "issuer", NOW, NOW - timedelta(days=version.policy.retry_after_days), ACTOR)
    began = time.perf_counter()
    with store.transaction() as tx:
        rows = tx.sweeps.ask_expiry(asking, NOW, "", job.size, job.size).rows
    seconds = time.perf_counter() - began
    _empty(job.filling_url)
    return seconds, rows


@contextmanager
def _filling(url: str) -> Iterator[Connection]:
    """A connection that checks nothing and waits for no disk."""
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                for pragma in ("foreign_keys = OFF", "synchronous = OFF", "cache_size = -200000"):
                    connection.execute(text(f"PRAGMA {pragma}"))
            else:
                # Without triggers, of which the foreign keys are made.
                connection.execute(text("SET session_replication_role = replica"))
            yield connection
    finally:
        engine.dispose()


def _empty(url: str) -> None:
    with _filling(url) as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM key_updates"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            connection.execute(text("TRUNCATE key_updates CASCADE"))
            connection.execute(text("VACUUM ANALYZE key_sets"))


def fill(url: str, size: int) -> None:
    """Fill a database with so many cards, each with a security domain and a key set in force; a tenth is due."""
    version = build_version(policy=build_policy(max_per_run=10**7, max_per_day=10**7), settled_at=NOW)
    with _filling(url) as connection:
        connection.execute(insert(PolicyVersionRow), [build_values(version)])
        connection.execute(insert(MasterKeyRow), [build_values(build_master())])
        _fill_chunks(connection, CardRow, build_values(build_card(1)), size, name=_name_card)
        domain = build_domain(1, aid=bytes.fromhex("A0000009510001"))
        _fill_chunks(connection, SecurityDomainRow, build_values(domain), size, name=_name_domain)
        key_set = build_key_set(
            1,
            purpose=DerivationPurpose.SSD,
            delivery=Delivery.PROVED,
            state=KeyState.ACTIVE,
            proved_at=NOW - timedelta(days=340),
            policy_id=version.id,
        )
        _fill_chunks(connection, KeySetRow, build_values(key_set), size, name=_name_set, date=_date_sets)
        if connection.dialect.name == "postgresql":
            connection.execute(text("VACUUM ANALYZE"))
        else:
            connection.execute(text("ANALYZE"))


def _fill_updates(url: str, size: int) -> None:
    update = build_update(1, reason=UpdateReason.EXPIRY, state=UpdateState.PENDING, deadline=None, finished_at=None)
    with _filling(url) as connection:
        _fill_chunks(connection, KeyUpdateRow, build_values(update), size, name=_name_update, date=_date_updates)
        connection.execute(text("VACUUM ANALYZE key_updates" if connection.dialect.name == "postgresql" else "ANALYZE"))


Columns = dict[str, Any]


def _fill_chunks(
    connection: Connection,
    model: Any,  # noqa: ANN401 - any model
    values: Mapping[str, Any],
    size: int,
    *,
    name: Callable[[str], Columns],
    date: Callable[[int], Columns] = lambda _chunk: {},
) -> None:
    """Insert rows number 1 to `size`, alike but for what `name` and `date` give, by one statement a chunk."""
    table, dialect = model.__table__, connection.dialect.name
    step = max(1, size // CHUNKS)
    for chunk, first in enumerate(range(1, size + 1, step)):
        last = min(size, first + step - 1)
        row = {key: literal(value, table.c[key].type) for key, value in values.items()}
        row.update(name(dialect))
        row.update({key: _as_literal(value, table.c[key].type) for key, value in date(chunk).items()})
        source = select(*(value.label(key) for key, value in row.items())).select_from(
            text(_build_series(dialect, first, last))
        )
        connection.execute(insert(table).from_select(list(row), source))


def _as_literal(value: Any, kind: Any) -> Any:  # noqa: ANN401 - a column's value and type
    return literal(value, kind) if isinstance(value, datetime) else value(kind)


def _build_series(dialect: str, first: int, last: int) -> str:
    if dialect == "postgresql":
        return f"generate_series({first}, {last}) AS s(n)"
    counted = f"WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s"  # noqa: S608 - numbers
    return f"({counted}) AS s"


def _build_ids(dialect: str, kind: str) -> Any:  # noqa: ANN401 - SQL
    """An id in order of the number. `kind`: four hex digits that tell the tables apart."""
    digits = "lpad(to_hex(s.n), 12, '0')" if dialect == "postgresql" else "printf('%012x', s.n)"
    return literal_column(f"'01900000-{kind}-7000-8000-' || {digits}")


def _name_card(dialect: str) -> Columns:
    number = (
        "decode(lpad(to_hex(s.n), 20, '0'), 'hex')" if dialect == "postgresql" else "CAST(printf('%020x', s.n) AS BLOB)"
    )
    return {"id": _build_ids(dialect, "0001"), "identity": literal_column(number)}


def _name_domain(dialect: str) -> Columns:
    return {"id": _build_ids(dialect, "0002"), "card_id": _build_ids(dialect, "0001")}


def _name_set(dialect: str) -> Columns:
    return {"id": _build_ids(dialect, "0003"), "security_domain_id": _build_ids(dialect, "0002")}


def _name_update(dialect: str) -> Columns:
    return {"id": _build_ids(dialect, "0004"), "security_domain_id": _build_ids(dialect, "0002")}


def _date_sets(chunk: int) -> Columns:
    """Every tenth is due since some hours; the others will be, some days from now."""
    due, later = NOW - timedelta(hours=1 + chunk), NOW + timedelta(days=1 + chunk)

    def pick(first: datetime, second: datetime) -> Callable[[Any], Any]:
        is_due: ColumnElement[bool] = literal_column(f"s.n % {DUE_EVERY} = 0")
        return lambda kind: case((is_due, literal(first, kind)), else_=literal(second, kind))

    thirty = timedelta(days=30)
    return {"rotate_at": pick(due, later), "expires_at": pick(due + thirty, later + thirty)}


def _date_updates(chunk: int) -> Columns:
    return {"due_at": NOW - timedelta(hours=chunk)}


def _fetch_pages(store: SqlStore, count: int) -> Iterator[float]:
    """Seconds of pages of the list: the first, and others from places all over it."""
    service, terminal = PendingService(store=store), build_terminal()
    places = random.Random(SEED)  # noqa: S311 - the same places in every run
    for number in range(count):
        after = None
        if number % 4:
            due = NOW - timedelta(hours=places.randrange(CHUNKS), seconds=1)
            after = PendingCursor(due, build_id(places.randrange(10**6)))
        began = time.perf_counter()
        page = service.list_page(terminal, PendingFilter(), limit=PAGE, after=after)
        yield time.perf_counter() - began
        if not page.cards and after is None:
            raise RuntimeError("nothing is pending")


def build_job_text(job: Job) -> str:
    """The job as `python -m bench.sweeps` reads it."""
    return json.dumps(asdict(job))


def parse_swept(answer: str) -> Swept:
    """What `python -m bench.sweeps` answered."""
    found: dict[str, Any] = json.loads(answer)
    return replace(Swept(**found), fetches=tuple(found["fetches"]))


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.load(sys.stdin))))))
