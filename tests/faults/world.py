"""A platform, its token, a terminal and a card, all real but for wire and power: what a run cuts, and where.

Real are the services, the API, the terminal's relay, client and journal, the database and the token; the server's
process is what `Server` holds and loses when it is killed. The wire is a call in this process, the clock stands still.
"""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import httpx

from terminal.client import ServerClient
from terminal.errors import TerminalError, card_gone
from terminal.instructions import find_name
from terminal.journal import Journal
from terminal.relay import Relay
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.model import CardState
from terminal.visits import new_session_id, serve_card, settle_without_card
from tests.fakes.examination import Examination
from tests.fakes.issuer import APPLICATION_AID, IDENTITY
from tests.fakes.records import TickingClock
from tests.faults.databases import RunDatabase
from tests.faults.pkcs11_calls import CKR_TOKEN_NOT_PRESENT, CallFault
from tests.faults.points import Fault, Kind, Watcher
from tests.faults.programs import Program
from tests.faults.server import CrashError, Server
from tests.faults.token import RunToken

RECONNECT_S = 20.0
INTERNAL_ERROR = 500
UNREADABLE = b"\x6f\x00"  # what a reader may give for a card whose power failed
STEPS = ("order-journalled", "responses-journalled", "stop-received", "journal-erased")
KILLED_BEFORE = (Fault.TERMINAL_KILLED_BEFORE, Fault.ELSEWHERE_BEFORE)
KILLED_AFTER = (Fault.TERMINAL_KILLED_AFTER, Fault.ELSEWHERE_AFTER)


class KilledError(Exception):
    """The terminal's process ended."""


class FaultWorld(Examination):
    """One run. `heard`: what the user read when a visit ended badly; `unexpected`: the server's own faults."""

    def __init__(
        self,
        program: Program,
        database: RunDatabase,
        token: RunToken,
        folder: Path,
        state: CardState,
        *,
        first_id: int,
    ) -> None:
        self.sent = []
        self.key_values = {}
        self.challenge_length = program.challenge_length
        self.program, self.database, self.token = program, database, token
        self.watcher = Watcher()
        self.clock = TickingClock()
        self.heard: list[str] = []
        self.unexpected: list[str] = []
        self.has_applied = False
        self.key_changes = 0
        self._folder = folder
        self._numbers = itertools.count()
        self._seconds = 0.0
        self._lasting = False
        self._away = False
        self.card_gone = False
        self._seen = _list_keys(state)
        self.card = VirtualCard(state, program.personality, on_commit=self._on_commit, random_bytes=self._draw)
        self.server = Server(self, first_id)
        token.calls.watch = self._on_call

    def present(self, terminal: int = 0, *, applies: bool = False) -> None:
        """Present the card at a terminal: its own journal, whatever a run before left in it."""
        self.clock.move(minutes=1)
        self.card_gone = False
        self.card.reset()
        self.server.certificate = get_certificate(terminal)

        def run(relay: Relay, client: ServerClient) -> None:
            def apply() -> str:
                session = client.apply(IDENTITY, APPLICATION_AID).session_id
                self.has_applied = True
                return session

            serve_card(relay, Reader(self), IDENTITY, apply if applies else new_session_id)

        self._run_terminal(terminal, run)

    def come_back_without_card(self, terminal: int = 0) -> None:
        """A terminal that was killed starts again; its card has left."""
        self.clock.move(minutes=1)
        self.server.certificate = get_certificate(terminal)
        self._run_terminal(terminal, lambda relay, _client: settle_without_card(relay))

    def _run_terminal(self, terminal: int, run: Callable[[Relay, ServerClient], object]) -> None:
        try:
            with (
                Journal(self._folder / f"terminal-{terminal}") as journal,
                ServerClient(
                    httpx.Client(transport=Wire(self), base_url="https://platform.test"),
                    RECONNECT_S,
                    sleep=self._sleep,
                    monotonic=lambda: self._seconds,
                ) as client,
            ):
                relay = Relay(client, journal, observer=self._observe, sleep=self._sleep, monotonic=client.monotonic)
                run(relay, client)
        except KilledError:
            self.heard.append("killed")
        except TerminalError as error:
            self.heard.append(f"{error.code} {error.server_code}".rstrip())
        finally:
            self._lasting = False
            self.mend()

    def strike(self, fault: Fault | None) -> None:
        """Take something away from the platform, or kill its process, as a fault says."""
        match fault:
            case Fault.HSM_AWAY | Fault.HSM_AWAY_LONGER:
                self.token.calls.away = CKR_TOKEN_NOT_PRESENT
            case Fault.HSM_MOVED | Fault.HSM_MOVED_LONGER:
                self.token.take_away()
            case Fault.HSM_RESTARTED:
                self.token.calls.lost_sessions = True
            case Fault.DATABASE_AWAY | Fault.DATABASE_AWAY_LONGER:
                self.database.take_away()
            case Fault.DATABASE_READ_ONLY:
                self.database.forbid_writing()
            case Fault.WORKER_KILLED_MEANWHILE:
                self.server.restart()
            case _:
                return
        self._away = fault is not Fault.WORKER_KILLED_MEANWHILE
        self._lasting = fault in (Fault.HSM_AWAY_LONGER, Fault.HSM_MOVED_LONGER, Fault.DATABASE_AWAY_LONGER)

    def mend(self) -> None:
        """Everything is back, unless it stays away until the terminal gives up."""
        if self._away and not self._lasting:
            self._away = False
            self.token.give_back()
            self.database.give_back()

    def _on_call(self, name: str) -> CallFault:
        if self.server.is_dead:
            return CallFault.LOST
        fault = self.watcher.cross(Kind.CALL, name)
        if fault in (Fault.WORKER_KILLED_BEFORE, Fault.WORKER_KILLED_AFTER):
            self.server.is_dead = True
            return CallFault.LOST if fault is Fault.WORKER_KILLED_BEFORE else CallFault.ANSWER_LOST
        self.strike(fault)
        if fault is Fault.REQUEST_LOST:
            return CallFault.LOST
        return CallFault.ANSWER_LOST if fault is Fault.ANSWER_LOST else CallFault.NONE

    def _observe(self, boundary: str) -> None:
        if boundary in STEPS and self.watcher.cross(Kind.STEP, boundary) is not None:
            raise KilledError

    def _sleep(self, seconds: float) -> None:
        self._seconds += seconds

    def _on_commit(self, state: CardState) -> None:
        seen = _list_keys(state)
        self.key_changes += seen != self._seen
        self._seen = seen

    def _draw(self, length: int) -> bytes:
        """A card's challenges: never twice the same, and the same in each run."""
        return hashlib.sha256(str(next(self._numbers)).encode()).digest()[:length]


class Wire(httpx.BaseTransport):
    """The way to the server."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        world = self._world
        world.mend()
        world.server.request_name = name = request.url.path.rpartition("/")[2]
        fault = world.watcher.cross(Kind.REQUEST, name)
        if fault in KILLED_BEFORE:
            raise KilledError
        if fault is Fault.WORKER_KILLED_BEFORE:
            world.server.restart()
        if fault in (Fault.REQUEST_LOST, Fault.WORKER_KILLED_BEFORE):
            raise httpx.ConnectError("lost on the way", request=request)
        world.card_gone = world.card_gone or fault is Fault.CARD_PULLED_BEFORE
        world.strike(fault)
        answer = self._send(request)
        if fault is Fault.WORKER_KILLED_AFTER:
            world.server.restart()
        if fault in KILLED_AFTER:
            raise KilledError
        if answer is None or fault in (Fault.ANSWER_LOST, Fault.WORKER_KILLED_AFTER):
            raise httpx.ReadError("no answer came", request=request)
        return answer

    def _send(self, request: httpx.Request) -> httpx.Response | None:
        """The server's answer; None when it died."""
        server = self._world.server
        try:
            answer = server.wire.handle_request(request)
            answer.read()
            if answer.status_code == INTERNAL_ERROR and not server.is_dead:
                self._world.unexpected.append(f"the server answered 500 to {server.request_name}")
        except CrashError:
            answer = None
        if server.is_dead:
            server.restart()
            return None
        return answer


class Reader:
    """The card in its reader."""

    def __init__(self, world: FaultWorld) -> None:
        self._world = world

    def transmit(self, command: bytes) -> bytes:
        world = self._world
        if world.card_gone:
            raise card_gone()
        fault = world.watcher.cross(Kind.APDU, find_name(command))
        if fault in KILLED_BEFORE:
            raise KilledError
        if fault is Fault.CARD_PULLED_BEFORE:
            raise self._pull()
        if fault is Fault.TORN_BEFORE:
            world.card.reset()
            return UNREADABLE
        world.strike(fault)
        world.sent.append(command)
        answer = world.card.transmit(command)
        if fault in KILLED_AFTER:
            raise KilledError
        if fault is Fault.CARD_PULLED_AFTER:
            raise self._pull()
        if fault is Fault.TORN_AFTER:
            world.card.reset()
            return UNREADABLE
        return answer

    def reset(self) -> None:
        self._world.card.reset()

    def _pull(self) -> TerminalError:
        self._world.card_gone = True
        self._world.card.reset()
        return card_gone()


def get_certificate(terminal: int) -> bytes:
    """The client certificate of a terminal; any bytes will do, for it is known by its digest."""
    return f"terminal {terminal}".encode()


def _list_keys(state: CardState) -> list[tuple[bytes, object]]:
    """Every key by its domain and version; counters change with each channel and do not matter."""
    return [(domain.aid, [(item.kvn, item.keys) for item in domain.key_sets]) for domain in state.domains]
