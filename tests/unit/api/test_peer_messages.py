import pytest
from pydantic import ValidationError

from kms.api.peer_messages import (
    HandOverMessage,
    RelayedOrderMessage,
    RelayedReportMessage,
    TransferAnswerMessage,
    TransferMessage,
    TransferRequestMessage,
)
from kms.card.keys import KeyType
from kms.domain.orders import AgentStatus
from kms.domain.transfers import Envelope, RelayedOrder, TransferAnswer, TransferReason, TransferState
from tests.unit.domain.test_hand_over import TRANSFER

APDU = "80D8200000"


def test_a_request_becomes_a_value() -> None:
    message = TransferRequestMessage.model_validate(
        {
            "transferId": TRANSFER.id,
            "reason": "rekey",
            "cardIdentity": "47ff",
            "aid": "A000000952",
            "privileges": "80C000",
            "keyType": "AES256",
        }
    )
    request = message.parse()
    assert (request.reason, request.key_type) == (TransferReason.REKEY, KeyType.AES256)
    assert (request.card_identity, request.privileges) == (b"\x47\xff", b"\x80\xc0\x00")


def test_a_report_becomes_a_value() -> None:
    message = RelayedReportMessage.model_validate(
        {"answersOrder": 0, "status": "UNAVAILABLE_SE", "responses": ["", "6a88"]}
    )
    report = message.parse()
    assert (report.answers_order, report.status) == (0, AgentStatus.UNAVAILABLE_SE)
    assert report.responses == (b"", b"\x6a\x88")
    with pytest.raises(ValidationError):
        RelayedReportMessage.model_validate({"answersOrder": 1 << 31, "status": "POLLING", "responses": []})


def test_answers_are_written_in_camel_case_and_upper_case_hex() -> None:
    answer = TransferAnswer(TransferState.REFUSED, bytes.fromhex("AB" * 10), None, 0x70, "jcop", "no room")
    assert TransferAnswerMessage.build(answer).model_dump(by_alias=True) == {
        "state": "REFUSED",
        "kdd": "AB" * 10,
        "scp02I": None,
        "scp03I": 0x70,
        "profile": "jcop",
        "refusal": "no room",
    }
    written = TransferMessage.build(TRANSFER).model_dump(by_alias=True)
    assert (written["transferId"], written["handedOverAt"]) == (TRANSFER.id, None)


def test_no_message_shows_apdus_or_payloads() -> None:
    commands = (bytes.fromhex(APDU),)
    order = RelayedOrderMessage.build(RelayedOrder(1, commands, ended=False, state=TransferState.REQUESTED, text=""))
    report = RelayedReportMessage(answers_order=1, status=AgentStatus.PROCESSED, responses=[APDU])
    envelope = HandOverMessage.build(Envelope(b"payload", bytes(64)))
    assert order.commands == [APDU]
    assert APDU not in repr(order) + repr(report)
    assert envelope.payload not in repr(envelope)
