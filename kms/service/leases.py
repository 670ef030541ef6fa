"""One of many nodes works: a lease with a fencing number, and a store that writes only while the lease is held.

Rules: time is the database's. Whoever takes a lease over counts its fence up; every transaction of the work checks the
fence before it does anything and keeps the lease's row as it is until its commit. So a node that was stopped, or that
cannot know that its lease ended, writes nothing more: its transactions are refused, or were cut off by the database
before the other node could begin.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kms.domain.leases import Lease
from kms.errors import Code, KmsError
from kms.service.ports import Store, Transaction

SCHEDULER = "scheduler"
CHECK_ATTEMPTS = 5
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseKeeper:
    """One node's side of a lease. Safe to share between threads.

    `holder`: names this process and no other. `seconds`: how long the lease lasts without renewal.
    """

    def __init__(self, *, store: Store, holder: str, seconds: int, name: str = SCHEDULER) -> None:
        self._store = store
        self._lease = Lease(name, holder, 1, seconds, _NEVER)
        self._fence: int | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The lease's name."""
        return self._lease.name

    @property
    def holder(self) -> str:
        """This process, as the lease names it."""
        return self._lease.holder

    @property
    def fence(self) -> int | None:
        """The fence of the lease while this node believes that it holds it."""
        return self._fence

    def keep(self) -> bool:
        """Take the lease if nobody holds it, renew it if this node does; whether this node holds it now.

        Raises `database.unavailable`, and then holds it no longer as far as this node is concerned.
        """
        with self._lock:
            try:
                self._fence = self._take()
            except KmsError as error:
                self._fence = None
                # Two nodes wanted it at the same moment: the other one has it, or the next attempt gets it.
                if error.code not in (Code.VISIT_CONFLICT, Code.CONFLICT):
                    raise
        return self._fence is not None

    def release(self) -> None:
        """Give the lease back, so that another node need not wait until it ends."""
        with self._lock:
            fence, self._fence = self._fence, None
            if fence is None:
                return
            with self._store.transaction() as tx:
                tx.leases.replace(replace(self._lease, holder="", fence=fence, expires_at=tx.leases.now()), fence)

    def forget(self) -> None:
        """Believe no longer that this node holds it; `keep` finds out."""
        self._fence = None

    def _take(self) -> int | None:
        with self._store.transaction() as tx:
            stored = tx.leases.find(self.name)
            now = tx.leases.now()
            until = now + timedelta(seconds=self._lease.seconds)
            if stored is None:
                tx.leases.add(replace(self._lease, expires_at=until))
                return self._lease.fence
            # A node that forgot its fence (the database was away) begins a new one, so that what it began before is
            # refused.
            mine = stored.holder == self.holder and stored.fence == self._fence
            if not mine and stored.holder not in ("", self.holder) and stored.expires_at > now:
                return None
            fence = stored.fence if mine else stored.fence + 1
            taken = tx.leases.replace(replace(self._lease, fence=fence, expires_at=until), stored.fence)
        return fence if taken else None


class FencedStore:
    """`kms.service.ports.Store` for the work under a lease: each transaction checks the fence first."""

    def __init__(self, store: Store, keeper: LeaseKeeper) -> None:
        self._store = store
        self._keeper = keeper

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction that holds the lease's row. Raises `scheduler.lease-lost`, and as the store does."""
        for tries_left in reversed(range(CHECK_ATTEMPTS)):
            fence = self._keeper.fence
            if fence is None:
                raise KmsError(Code.LEASE_LOST, "this node does not hold the scheduler's lease; nothing was written")
            checked = False
            try:
                with self._store.transaction() as tx:
                    tx.leases.check(self._keeper.name, fence)
                    checked = True
                    yield tx
            except KmsError as error:
                # The lease was renewed between the transaction's beginning and its check.
                if checked or error.code is not Code.VISIT_CONFLICT or not tries_left:
                    raise
            else:
                return

    def reading(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only reads: nothing can go wrong by it, so it needs no lease."""
        return self._store.reading()

    def check(self) -> None:
        """As the store's."""
        self._store.check()
