"""The leased line at the issuer's end: what application providers' platforms ask for.

Rules: served only where peers are configured, on the terminals' listener, to the pinned certificates alone. Every
request may be repeated with the same effect. What a peer may do is decided by the transfers' use cases, by its name.
"""

from uuid import UUID

from apiflask import APIBlueprint

from kms.api.openapi import may_answer
from kms.api.peer_callers import PREFIX, get_peer
from kms.api.peer_messages import (
    ControlAcceptedMessage,
    HandOverMessage,
    NothingMessage,
    RelayedOrderMessage,
    RelayedReportMessage,
    TransferAnswerMessage,
    TransferMessage,
    TransferRequestMessage,
)
from kms.api.services import PeerAccess
from kms.errors import Code

_ALWAYS = (Code.PEER_UNKNOWN, Code.DATABASE_UNAVAILABLE, Code.INTERNAL)
_BODY = (Code.INPUT_INVALID, Code.BODY_TOO_LARGE, Code.MEDIA_TYPE)
_CARD = (Code.CARD_UNKNOWN, Code.CARD_QUARANTINED)
_TRANSFER = (*_ALWAYS, *_BODY, Code.TRANSFER_UNKNOWN, Code.TRANSFER_STATE)


def build_peers(access: PeerAccess) -> APIBlueprint:
    """Build the peers' addresses."""
    peers = APIBlueprint("peers", __name__, url_prefix=PREFIX)
    transfers = access.transfers

    @peers.post("/transfers")
    @peers.input(TransferRequestMessage)
    @peers.output(TransferAnswerMessage, status_code=201)
    @peers.doc(
        summary="Ask for a security domain, or for new initial keys in one",
        extensions=may_answer(
            *_ALWAYS,
            *_BODY,
            Code.PEER_NOT_ALLOWED,
            Code.PEER_QUOTA,
            *_CARD,
            Code.TRANSFER_UNKNOWN,
            Code.TRANSFER_CONFLICT,
            Code.TRANSFER_REFUSED,
            Code.VISIT_CONFLICT,
        ),
    )
    def request_transfer(json_data: TransferRequestMessage) -> TransferAnswerMessage:
        return TransferAnswerMessage.build(transfers.request(get_peer(), json_data.parse()))

    @peers.get("/transfers/<uuid:transfer_id>")
    @peers.output(TransferMessage)
    @peers.doc(summary="One transfer", extensions=may_answer(*_ALWAYS, Code.TRANSFER_UNKNOWN))
    def show_transfer(transfer_id: UUID) -> TransferMessage:
        return TransferMessage.build(transfers.get(get_peer(), str(transfer_id)))

    @peers.post("/transfers/<uuid:transfer_id>/report")
    @peers.input(RelayedReportMessage)
    @peers.output(RelayedOrderMessage)
    @peers.doc(
        summary="Hand the card's responses on, get the next batch",
        extensions=may_answer(
            *_TRANSFER, *_CARD, Code.TERMINAL_REFUSED, Code.SESSION_UNKNOWN, Code.VISIT_CONFLICT, Code.HSM_UNAVAILABLE
        ),
    )
    def report(transfer_id: UUID, json_data: RelayedReportMessage) -> RelayedOrderMessage:
        return RelayedOrderMessage.build(transfers.report(get_peer(), str(transfer_id), json_data.parse()))

    @peers.post("/transfers/<uuid:transfer_id>/hand-over")
    @peers.input(NothingMessage)
    @peers.output(HandOverMessage)
    @peers.doc(
        summary="Get the hand-over envelope, made anew each time until control is accepted",
        extensions=may_answer(*_TRANSFER, *_CARD, Code.HSM_UNAVAILABLE, Code.KEY_MISSING, Code.KEY_KCV_MISMATCH),
    )
    def hand_over(transfer_id: UUID, json_data: NothingMessage) -> HandOverMessage:
        del json_data  # it has no fields; it was parsed so that what is not understood is refused
        return HandOverMessage.build(transfers.hand_over(get_peer(), str(transfer_id)))

    @peers.post("/transfers/<uuid:transfer_id>/control-accepted")
    @peers.input(NothingMessage)
    @peers.output(ControlAcceptedMessage)
    @peers.doc(
        summary="Tell that the provider's own keys are in force", extensions=may_answer(*_TRANSFER, Code.VISIT_CONFLICT)
    )
    def accept_control(transfer_id: UUID, json_data: NothingMessage) -> ControlAcceptedMessage:
        del json_data  # the same
        return ControlAcceptedMessage(state=transfers.accept_control(get_peer(), str(transfer_id)))

    return peers
