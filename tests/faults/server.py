"""The platform's server process of a run: services over database and token, behind the API, to be killed and started.

Rules: a process that is dead does nothing any more: no transaction begins or ends, no PKCS#11 call reaches the token,
no answer leaves. What a new one knows stands in the database.
"""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx

from kms.api import create_api
from kms.card.keys import KeyType
from kms.config import CatalogueEntry
from kms.db.store import SqlStore, SqlTransaction
from kms.hsm.vault import TokenVault
from kms.service.applications import ApplicationService
from kms.service.pending import PendingService
from kms.service.recovery import RecoveryService
from kms.service.relay import Relay
from kms.service.terminals import TerminalService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from tests.fakes.issuer import APPLICATION_AID, SSD_AID, build_requests
from tests.fakes.memory_anchor import MemoryAnchor
from tests.fakes.records import CountingIdentifiers
from tests.faults.databases import CommitFault
from tests.faults.points import Fault, Kind

if TYPE_CHECKING:
    from tests.faults.world import FaultWorld

LIMITS = VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0)


class CrashError(BaseException):
    """The server's process ended: nothing in it may catch this."""


@dataclass
class Services:
    """What the API needs of a platform."""

    visits: VisitService
    applications: ApplicationService
    pending: PendingService
    terminals: TerminalService
    store: SqlStore
    vault: TokenVault
    recovery: RecoveryService


class Server:
    """`certificate`: of the terminal that calls; `request_name`: what it called."""

    def __init__(self, world: "FaultWorld", first_id: int) -> None:
        self._world = world
        self._processes = 0
        self._first_id = first_id
        self._challenges = itertools.count(first_id)
        self._sessions = itertools.count(first_id)
        self.is_dead = False
        self.certificate = b""
        self.request_name = ""
        self._start(world.token.vault)

    def restart(self) -> None:
        """The process ends here and now, and another is started."""
        self._world.watcher.counting = False
        self._start(self._world.token.start_process())
        self._world.watcher.counting = True

    def _start(self, vault: TokenVault) -> None:
        world = self._world
        self.is_dead = False
        self._processes += 1
        identifiers = CountingIdentifiers(self._first_id + 1_000_000 * self._processes)
        world.store = world.database.open_store()
        store = WatchedStore(world, world.store)
        anchor = MemoryAnchor()
        recovery = RecoveryService(store=world.store, clock=world.clock, identifiers=identifiers, anchor=anchor)
        visits = VisitService(
            store=store,  # type: ignore[arg-type] # visits use transactions alone
            vault=vault,
            clock=world.clock,
            identifiers=identifiers,
            entropy=lambda length: next(self._challenges).to_bytes(length, "little"),
            platform="issuer",
            profiles={"default": world.program.profile},
            limits=LIMITS,
            relay=Relay({}),
            recovery=recovery,
        )
        entry = CatalogueEntry(
            aid=APPLICATION_AID, name="ticket", ssd_aid=SSD_AID, privileges=b"\x80", ssd_key_type=KeyType.AES128
        )
        applications = ApplicationService(
            store=store,  # type: ignore[arg-type] # the same
            clock=world.clock,
            identifiers=identifiers,
            visits=visits,
            catalogue=(entry,),
            platform="issuer",
            new_session_id=lambda: str(uuid.UUID(int=next(self._sessions), version=4)),
            requests=build_requests(store, world.clock, identifiers),  # type: ignore[arg-type] # the same
        )
        pending = PendingService(store=store)  # type: ignore[arg-type] # the same
        terminals = TerminalService(store=store, clock=world.clock, identifiers=identifiers)  # type: ignore[arg-type] # the same
        services = Services(visits, applications, pending, terminals, world.store, vault, recovery)
        app = create_api(services, lambda _environ: self.certificate)
        self.wire = httpx.WSGITransport(app, raise_app_exceptions=False)

    def check_alive(self) -> None:
        if self.is_dead:
            raise CrashError


class WatchedStore:
    """The platform's database, as its process sees it until something happens."""

    def __init__(self, world: "FaultWorld", store: SqlStore) -> None:
        self._world, self._store = world, store

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        world = self._world
        world.server.check_alive()
        fault = world.watcher.cross(Kind.COMMIT, f"in {world.server.request_name}")
        world.strike(fault)
        with self._store.transaction() as tx:
            yield tx
            world.server.is_dead = world.server.is_dead or fault is Fault.WORKER_KILLED_BEFORE
            world.server.check_alive()
            if fault is Fault.COMMIT_FAILS:
                world.database.next_commit = CommitFault.FAILS
            elif fault is Fault.COMMIT_UNKNOWN:
                world.database.next_commit = CommitFault.UNKNOWN
        world.server.is_dead = world.server.is_dead or fault is Fault.WORKER_KILLED_AFTER
        world.server.check_alive()

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        world = self._world
        world.server.check_alive()
        fault = world.watcher.cross(Kind.READING, f"in {world.server.request_name}")
        world.strike(fault)
        with self._store.reading() as tx:
            yield tx
            world.server.is_dead = world.server.is_dead or fault is Fault.WORKER_KILLED_BEFORE
            world.server.check_alive()
