"""The issuer's process behind a provider's, and the leased line to it, for tests that cut both: see the boundaries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kms.card.profile import CardProfile
from kms.db.store import SqlStore, SqlTransaction
from kms.domain.orders import Report
from kms.domain.transfers import Envelope, RelayedOrder, TransferAnswer, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.service.relay import Relay
from kms.service.transfers import TransferService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService
from tests.fakes.boundaries import T, Watcher, open_engine
from tests.fakes.issuer import PROVIDER, SoftwareVault, away
from tests.fakes.provider import say_as_the_line_does
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.software_keys import SoftwareKeys

LIMITS = VisitLimits(timedelta(minutes=5), max_reconciliations=3, max_attempts=3, delay_ms=0)


class IssuerCrashError(Exception):
    """The issuer's process ended."""


@dataclass
class IssuerProcess:
    """The issuer's processes over its database file."""

    path: Path
    vault: SoftwareVault
    clock: TickingClock
    profile: CardProfile
    watcher: Watcher
    first_id: int
    commits: int = 0
    scopes: int = 0
    _processes: int = 0

    def start(self) -> None:
        """A new process over the same file."""
        self._processes += 1
        self.store = SqlStore(open_engine(self.path))
        identifiers = CountingIdentifiers(self.first_id + 1_000_000 * self._processes)
        challenges = iter(range(7_000_000 * self._processes, 1 << 60))
        visits = VisitService(
            store=self,  # type: ignore[arg-type] # services use transactions alone
            vault=self,  # type: ignore[arg-type] # services use scopes and signatures
            clock=self.clock,
            identifiers=identifiers,
            entropy=lambda length: next(challenges).to_bytes(length, "little"),
            platform="issuer",
            profiles={"default": self.profile},
            limits=LIMITS,
            relay=Relay({}),
        )
        self.transfers = TransferService(
            store=self,  # type: ignore[arg-type] # the same
            vault=self,  # type: ignore[arg-type] # the same
            clock=self.clock,
            identifiers=identifiers,
            visits=visits,
            peers={"provider": PROVIDER},
            platform="issuer",
        )

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        with self.store.transaction() as tx:
            yield tx
            self.commits += 1
            number = self.commits
            if self.watcher.hit("issuer crashed before commit", str(number)):
                raise IssuerCrashError
        if self.watcher.hit("issuer crashed after commit", str(number)):
            raise IssuerCrashError

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """What is only read changes nothing, so a crash there is one before the next commit."""
        with self.store.reading() as tx:
            yield tx

    @contextmanager
    def open_scope(self) -> Iterator[SoftwareKeys]:
        self.scopes += 1
        number = self.scopes
        if self.watcher.hit("issuer's HSM away at the start of", f"scope {number}"):
            raise away()
        with self.vault.open_scope() as keys:
            yield keys
        if self.watcher.hit("issuer's HSM away at the end of", f"scope {number}"):
            raise away()

    def sign(self, object_id: bytes, data: bytes) -> bytes:
        self.scopes += 1
        if self.watcher.hit("issuer's HSM away at the start of", f"signature {self.scopes}"):
            raise away()
        return self.vault.sign(object_id, data)


@dataclass
class WatchedLine:
    """The leased line, on which requests, answers and the issuer itself may be lost."""

    issuer: IssuerProcess
    watcher: Watcher
    calls: int = 0
    away: bool = False

    def request(self, request: TransferRequest) -> TransferAnswer:
        return self._call("request", lambda: self.issuer.transfers.request("provider", request))

    def report(self, transfer_id: str, report: Report) -> RelayedOrder:
        return self._call("report", lambda: self.issuer.transfers.report("provider", transfer_id, report))

    def hand_over(self, transfer_id: str) -> Envelope:
        return self._call("hand-over", lambda: self.issuer.transfers.hand_over("provider", transfer_id))

    def accept_control(self, transfer_id: str) -> TransferState:
        return self._call("control-accepted", lambda: self.issuer.transfers.accept_control("provider", transfer_id))

    def _call(self, name: str, call: Callable[[], T]) -> T:
        self.calls += 1
        where = f"call {self.calls} {name}"
        self.away = self.away or self.watcher.hit("issuer away from", where)
        if self.away or self.watcher.hit("line lost the request of", where):
            raise away(Code.PEER_UNREACHABLE)
        try:
            answer = call()
        except IssuerCrashError:
            self.issuer.store.dispose()
            self.issuer.start()
            raise away(Code.PEER_UNREACHABLE) from None
        except KmsError as error:
            raise say_as_the_line_does(error) from error
        if self.watcher.hit("line lost the answer to", where):
            raise away(Code.PEER_UNREACHABLE)
        return answer
