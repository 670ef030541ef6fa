"""An issuer's transfers as the API sees them, simulated: one card, two batches, an envelope once they are answered."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kms.domain.orders import Report
from kms.domain.transfers import (
    Envelope,
    RelayedOrder,
    Transfer,
    TransferAnswer,
    TransferRequest,
    TransferSide,
    TransferState,
)
from kms.errors import Code, KmsError

CARD = bytes.fromhex("4712345678901F")
QUARANTINED = bytes.fromhex("4799999999999F")
ALLOWED = bytes.fromhex("A000000952")
COMMANDS = (bytes.fromhex("00A4040000"), bytes.fromhex("8050000008010203040506070800"))
TEXT = "The initial keys are proved"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LAST_ORDER = 3


@dataclass
class FakeTransfers:
    """`calls`: what was asked, by whom; `orders`: newest Order's number; `failure`: raised instead of answering."""

    transfers: dict[str, Transfer] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    failure: Exception | None = None

    def request(self, peer: str, request: TransferRequest) -> TransferAnswer:
        self._note(peer, "request")
        if not request.aid.startswith(ALLOWED):
            raise KmsError(Code.PEER_NOT_ALLOWED, "This peer may not ask for this security domain")
        if request.card_identity == QUARANTINED:
            raise KmsError(Code.CARD_QUARANTINED, "This card is not served")
        if request.card_identity != CARD:
            raise KmsError(Code.CARD_UNKNOWN, "This card is not enrolled")
        wanted = Transfer(
            id=request.transfer_id,
            side=TransferSide.ISSUER,
            peer=peer,
            reason=request.reason,
            card_identity=request.card_identity,
            aid=request.aid,
            privileges=request.privileges,
            key_type=request.key_type,
            state=TransferState.REQUESTED,
            requested_at=AT,
        )
        found = self.transfers.setdefault(request.transfer_id, wanted)
        if replace(found, state=TransferState.REQUESTED, handed_over_at=None, closed_at=None) != wanted:
            raise KmsError(Code.TRANSFER_CONFLICT, "This id was used for something else")
        return TransferAnswer(state=found.state, kdd=bytes(range(10)), scp02_i=0x55, scp03_i=None, profile="default")

    def get(self, peer: str, transfer_id: str) -> Transfer:
        self._note(peer, "get")
        return self._get(peer, transfer_id)

    def report(self, peer: str, transfer_id: str, report: Report) -> RelayedOrder:
        self._note(peer, "report")
        found = self._get(peer, transfer_id)
        self.reports.append(report)
        newest = self.orders.get(transfer_id, 0)
        if report.answers_order == newest and newest < LAST_ORDER:  # a repeated Report gets the same Order again
            newest += 1
        number = self.orders[transfer_id] = max(newest, 1)
        ended = number == LAST_ORDER
        if ended and found.state is TransferState.REQUESTED:
            self._save(replace(found, state=TransferState.PROVED))
        return RelayedOrder(
            number=number,
            commands=() if ended else COMMANDS,
            ended=ended,
            state=self.transfers[transfer_id].state,
            text=TEXT if ended else "",
        )

    def hand_over(self, peer: str, transfer_id: str) -> Envelope:
        self._note(peer, "hand_over")
        found = self._get(peer, transfer_id)
        if found.state not in {TransferState.PROVED, TransferState.HANDED_OVER}:
            raise KmsError(Code.TRANSFER_STATE, "The initial keys are not proved yet, or control was accepted already")
        self._save(replace(found, state=TransferState.HANDED_OVER, handed_over_at=AT))
        return Envelope(b'{"type":"kms-hand-over"}', bytes(range(64)))

    def accept_control(self, peer: str, transfer_id: str) -> TransferState:
        self._note(peer, "accept_control")
        found = self._get(peer, transfer_id)
        if found.state not in {TransferState.HANDED_OVER, TransferState.CLOSED}:
            raise KmsError(Code.TRANSFER_STATE, "Nothing was handed over yet")
        self._save(replace(found, state=TransferState.CLOSED, closed_at=AT))
        return TransferState.CLOSED

    def _note(self, peer: str, call: str) -> None:
        self.calls.append((peer, call))
        if self.failure:
            raise self.failure

    def _get(self, peer: str, transfer_id: str) -> Transfer:
        found = self.transfers.get(transfer_id)
        if found is None or found.peer != peer:
            raise KmsError(Code.TRANSFER_UNKNOWN, "This peer has no such transfer")
        return found

    def _save(self, transfer: Transfer) -> None:
        self.transfers[transfer.id] = transfer
