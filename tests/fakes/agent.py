"""A terminal agent in one process: it drives the services directly, as faithfully or as badly as a test says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.visits import Terminal
from kms.service.visits import VisitService
from terminal.virtual_card.card import VirtualCard

VOID = Report(AgentStatus.POLLING, None)


@dataclass
class Agent:
    """`tamper`: changes answers before they are reported. `cookies` False: never says which Order it answers."""

    visits: VisitService
    terminal: Terminal
    card: VirtualCard
    identity: bytes
    cookies: bool = True
    tamper: Callable[[Order, list[bytes]], list[bytes]] = lambda _order, answers: answers
    orders: list[Order] = field(default_factory=list)
    requests: int = 0
    apdus: int = 0

    def run(self, session_id: str) -> Order:
        """One visit, to its Stop."""
        self.card.reset()
        self.handshake(session_id)
        report = VOID
        while True:
            order = self.report(session_id, report)
            if order.stop:
                return order
            report = self.answer(order)

    def handshake(self, session_id: str) -> bytes:
        self.requests += 1
        return self.visits.handshake(self.terminal, session_id, [self.identity])

    def report(self, session_id: str, report: Report) -> Order:
        self.requests += 1
        order = self.visits.report(self.terminal, session_id, report)
        self.orders.append(order)
        return order

    def answer(self, order: Order) -> Report:
        answers = self.tamper(order, self.transmit(order.commands))
        return Report(AgentStatus.PROCESSED, order.number if self.cookies else None, tuple(answers))

    def transmit(self, commands: Sequence[bytes]) -> list[bytes]:
        self.apdus += len(commands)
        return [self.card.transmit(command) for command in commands]
