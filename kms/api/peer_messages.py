"""The JSON of the leased line, and what it means in the values of `kms.domain.transfers` (docs/hand-over.md).

Rules: Orders are numbered in the message, without cookies: both ends are servers of ours. Responses are a terminal's
word, passed on: their alphabet is checked here, their meaning nowhere but in the visit.
"""

from base64 import b64encode
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from kms.api.messages import Aid, Identity, Message, Time, build_hex, build_time
from kms.card.keys import KeyType
from kms.domain.orders import AgentStatus, Report
from kms.domain.transfers import (
    Envelope,
    RelayedOrder,
    Transfer,
    TransferAnswer,
    TransferReason,
    TransferRequest,
    TransferState,
)

MAX_APDUS = 256
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

TransferId = Annotated[str, Field(pattern=_UUID, description="UUID in lower case, chosen by the provider.")]
Apdu = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$", description="APDU in hex; empty: none was available.")]
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


class TransferRequestMessage(Message):
    """What a provider asks for: a security domain with initial keys, or new initial keys in one."""

    transfer_id: TransferId
    reason: TransferReason
    card_identity: Identity
    aid: Aid
    privileges: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}|[0-9A-Fa-f]{6})$", description="1 or 3 bytes in hex.")]
    key_type: KeyType

    def parse(self) -> TransferRequest:
        """Read the message."""
        return TransferRequest(
            transfer_id=self.transfer_id,
            reason=self.reason,
            card_identity=bytes.fromhex(self.card_identity),
            aid=bytes.fromhex(self.aid),
            privileges=bytes.fromhex(self.privileges),
            key_type=self.key_type,
        )


class TransferAnswerMessage(Message):
    """What the issuer says to a request, and what the provider must know of the card."""

    state: TransferState
    kdd: str
    scp02_i: StrictInt | None
    scp03_i: StrictInt | None
    profile: str
    refusal: str

    @classmethod
    def build(cls, answer: TransferAnswer) -> "TransferAnswerMessage":
        """Write the message."""
        return cls(
            state=answer.state,
            kdd=build_hex(answer.kdd),
            scp02_i=answer.scp02_i,
            scp03_i=answer.scp03_i,
            profile=answer.profile,
            refusal=answer.refusal,
        )


class TransferMessage(Message):
    """A transfer as the issuer records it."""

    transfer_id: TransferId
    reason: TransferReason
    card_identity: Identity
    aid: Aid
    privileges: str
    key_type: KeyType
    state: TransferState
    refusal: str
    requested_at: Time
    handed_over_at: Time | None
    closed_at: Time | None

    @classmethod
    def build(cls, transfer: Transfer) -> "TransferMessage":
        """Write the message."""
        return cls(
            transfer_id=transfer.id,
            reason=transfer.reason,
            card_identity=build_hex(transfer.card_identity),
            aid=build_hex(transfer.aid),
            privileges=build_hex(transfer.privileges),
            key_type=transfer.key_type,
            state=transfer.state,
            refusal=transfer.refusal,
            requested_at=build_time(transfer.requested_at),
            handed_over_at=build_time(transfer.handed_over_at) if transfer.handed_over_at else None,
            closed_at=build_time(transfer.closed_at) if transfer.closed_at else None,
        )


class RelayedReportMessage(Message):
    """A terminal's Report, passed on. `answersOrder`: null when nobody knows which Order it answers."""

    answers_order: Annotated[StrictInt, Field(ge=0, lt=1 << 31)] | None
    status: AgentStatus
    responses: Annotated[list[Apdu], Field(max_length=MAX_APDUS, repr=False)]

    def parse(self) -> Report:
        """Read the message."""
        return Report(
            status=self.status,
            answers_order=self.answers_order,
            responses=tuple(bytes.fromhex(response) for response in self.responses),
        )


class RelayedOrderMessage(Message):
    """The issuer's next batch for the card. `ended`: the issuer's part is over; `state` says how, `text` why."""

    order: StrictInt
    commands: Annotated[list[Apdu], Field(repr=False)]
    ended: StrictBool
    state: TransferState
    text: str

    @classmethod
    def build(cls, order: RelayedOrder) -> "RelayedOrderMessage":
        """Write the message."""
        return cls(
            order=order.number,
            commands=[build_hex(command) for command in order.commands],
            ended=order.ended,
            state=order.state,
            text=order.text,
        )


class NothingMessage(Message):
    """An object without fields: the address says all."""


class HandOverMessage(Message):
    """The envelope: the signed bytes, and the ECDSA P-256 signature (r | s) over their SHA-256."""

    payload: Annotated[Base64, Field(repr=False)]
    signature: Base64
    state: Literal[TransferState.HANDED_OVER]

    @classmethod
    def build(cls, envelope: Envelope) -> "HandOverMessage":
        """Write the message."""
        return cls(
            payload=b64encode(envelope.payload).decode("ascii"),
            signature=b64encode(envelope.signature).decode("ascii"),
            state=TransferState.HANDED_OVER,
        )


class ControlAcceptedMessage(Message):
    """The issuer's state of the transfer once it knows that the provider's own keys are in force."""

    state: TransferState
