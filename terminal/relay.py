"""A visit's loop: take an Order, journal it, send its commands to the card, journal the responses, report, repeat.

Rules: the relay understands no command. Every command of an SE RAM Command is sent in order, whatever the one before
answered; no command is ever sent twice. Once the card or its reader is gone nothing more is sent, missing responses are
empty and the status is UNAVAILABLE_SE. `observer` hears every boundary by name before the relay crosses it: raising
from it stops the visit there, as a crash would.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from terminal import seram
from terminal.card import Card
from terminal.errors import TerminalCode, TerminalError, card_gone
from terminal.instructions import find_name
from terminal.journal import Journal
from terminal.seram import AgentStatus, NotificationCommand, Order, Report, SeRamCommand, StopCommand
from terminal.transport import Transport

BOUNDARIES = (
    "before-handshake",
    "after-handshake",
    "before-report",
    "report-sent",
    "order-received",
    "order-journalled",
    "before-apdu",  # followed by the command's number in this run of the visit, from 1: "before-apdu 3"
    "after-apdu",  # the same
    "responses-journalled",
    "stop-received",
    "journal-erased",
)

# After these the server takes nothing more for the visit, or nothing that can be understood comes: going on with it
# would stop the terminal for ever. The server brings the card to a proven state in its next visit.
_END_OF_VISIT = (TerminalCode.SESSION_OVER, TerminalCode.SERVER_REFUSED, TerminalCode.SERVER_PROTOCOL)

Observer = Callable[[str], None]


class Listener:
    """Hears what a visit does, for people and machines; the default hears nothing."""

    def on_apdu(self, number: int, name: str, status: str) -> None:
        """Hear of a command's answer: its name, and the status word in hex, which is empty when the card is gone."""

    def on_notification(self, text: str) -> None:
        """Hear a text of the server for the terminal's user."""

    def on_resumed(self, session_id: str) -> None:
        """Hear that a visit an earlier run left open goes on."""


@dataclass(frozen=True)
class VisitSummary:
    """What a visit took. `commands`: APDUs sent; `requests`: HTTP requests.

    `card_error`: why the card could not answer every command, None when it did.
    """

    session_id: str
    card_identity: bytes
    commands: int
    requests: int
    seconds: float
    card_error: TerminalError | None
    resumed: bool
    notifications: tuple[str, ...]


@dataclass
class Relay:
    """The parts a visit runs on. `observer`: see BOUNDARIES; `sleep`, `monotonic`: the clock, in seconds."""

    transport: Transport
    journal: Journal
    listener: Listener = field(default_factory=Listener)
    observer: Observer = lambda boundary: None  # noqa: ARG005 -- by default nobody watches
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def run_visit(self, session_id: str, card: Card, card_identity: bytes) -> VisitSummary:
        """Run a visit from its handshake to its Stop; raises `server.*` and `journal.*`."""
        return _Visit(self, session_id, card, card_identity, resumed=False).run()

    def resume_visit(self, card: Card) -> VisitSummary:
        """Go on with the visit that the journal holds open, with its card (or an AbsentCard); raises as `run_visit`."""
        open_visit = self.journal.find_open_visit()
        if open_visit is None:
            raise LookupError("no visit to resume")
        self.listener.on_resumed(open_visit.session_id)
        return _Visit(self, open_visit.session_id, card, open_visit.card_identity, resumed=True).run()


class _Visit:
    """One run of one visit."""

    def __init__(self, relay: Relay, session_id: str, card: Card, card_identity: bytes, *, resumed: bool) -> None:
        self._relay = relay
        self._session_id = session_id
        self._card = card
        self._card_identity = card_identity
        self._resumed = resumed
        self._commands = 0
        self._card_error: TerminalError | None = None
        self._notifications: list[str] = []

    def run(self) -> VisitSummary:
        relay = self._relay
        began, requests_before = relay.monotonic(), relay.transport.requests
        try:
            self._loop()
        except TerminalError as error:
            if error.code in _END_OF_VISIT:
                relay.journal.erase()
            raise
        return VisitSummary(
            session_id=self._session_id,
            card_identity=self._card_identity,
            commands=self._commands,
            requests=relay.transport.requests - requests_before,
            seconds=relay.monotonic() - began,
            card_error=self._card_error,
            resumed=self._resumed,
            notifications=tuple(self._notifications),
        )

    def _loop(self) -> None:
        relay = self._relay
        report, cookies = self._open()
        while True:
            relay.observer("before-report")
            answer = relay.transport.report(self._session_id, report, cookies)
            relay.observer("report-sent")
            order, cookies = seram.parse_order(answer.body), dict(answer.cookies)
            relay.observer("order-received")
            commands = order.apdu_commands
            relay.journal.add_order(cookies, tuple(command.apdus for command in commands))
            relay.observer("order-journalled")
            report = self._execute(order)
            if order.stops:
                # "The Local Agent SHALL NOT send any new Report Message and SHALL discard any remaining Response"
                relay.observer("stop-received")
                relay.journal.erase()
                relay.observer("journal-erased")
                return
            relay.journal.add_report(report)
            relay.observer("responses-journalled")
            relay.sleep(order.delay_ms / 1000)

    def _open(self) -> tuple[Report, dict[str, str]]:
        """Return the first Report of this run and its cookies: void, or what an earlier run could not get across."""
        relay = self._relay
        known = relay.journal.find_open_visit() if self._resumed else None
        if known is not None and known.ordered:
            if known.report is not None:
                return known.report, dict(known.cookies)
            # Some commands may have reached the card and their answers are lost: a void report without the Order's
            # number makes the server open a new channel and reconcile.
            return seram.VOID_REPORT, {}
        if known is None:
            relay.journal.open_visit(self._session_id, self._card_identity)
        relay.observer("before-handshake")
        answer = relay.transport.handshake(self._session_id, self._card_identity)
        seram.check_handshake_response(answer.body)
        relay.observer("after-handshake")
        return seram.VOID_REPORT, dict(answer.cookies)

    def _execute(self, order: Order) -> Report:
        """Carry out an Order's commands one by one and build the Report that answers it."""
        if not order.commands:
            return seram.VOID_REPORT
        wrong_card = order.se_id not in (None, self._card_identity.hex().upper())
        responses: list[tuple[bytes, ...]] = []
        executed = 0
        for command in order.commands:
            match command:
                case StopCommand():
                    break
                case NotificationCommand(text):
                    self._notifications.append(text)
                    self._relay.listener.on_notification(text)
                case SeRamCommand(apdus):
                    responses.append(tuple(b"" if wrong_card else self._send(apdu) for apdu in apdus))
                    executed += not (wrong_card or self._card_error)
                case _:
                    continue
        if responses and wrong_card:
            return Report(AgentStatus.UNAVAILABLE_SE, 0, tuple(responses), "the Order names another secure element")
        if responses and self._card_error:
            return Report(AgentStatus.UNAVAILABLE_SE, executed, tuple(responses), self._card_error.problem)
        return Report(AgentStatus.PROCESSED, executed, tuple(responses))

    def _send(self, apdu: bytes) -> bytes:
        """Send one command; empty bytes when the card is gone, or its reader."""
        if self._card_error:
            return b""
        relay = self._relay
        number = self._commands + 1
        relay.observer(f"before-apdu {number}")
        try:
            response = self._card.transmit(apdu)
        except TerminalError as error:
            self._card_error, response = error, b""
        if not self._card_error and len(response) < 2:  # no status word: no response (ISO/IEC 7816-4 section 5.1)
            self._card_error, response = card_gone(), b""
        self._commands = number
        relay.observer(f"after-apdu {number}")
        relay.listener.on_apdu(number, find_name(apdu), "" if self._card_error else response[-2:].hex().upper())
        return response
