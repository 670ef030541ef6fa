from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kms.api.seram_messages import (
    HandshakeCommand,
    ReportMessage,
    SessionQuery,
    build_handshake_response,
    build_order,
    parse_report,
)
from kms.domain.orders import AgentStatus, Order

UUID = "0F96AF97-f879-45a2-a011-ee7439df3804"


def _handshake(**more: object) -> HandshakeCommand:
    return HandshakeCommand.model_validate({"secureElements": [{"seType": "eSE", "seId": "4712"}], **more})


def _report(*apdus: str, status: str = "PROCESSED", **more: object) -> ReportMessage:
    message: dict[str, Any] = {"localAgentStatus": {"localAgentStatusEnum": status, **more}}
    if apdus:
        message["ramResponses"] = [{"ramResponseType": "seRamResponse", "listOfRAPDU": list(apdus)}]
    return ReportMessage.model_validate(message)


@given(st.lists(st.binary(max_size=258), min_size=1, max_size=8), st.booleans())
def test_every_response_comes_through_in_its_order(responses: list[bytes], upper: bool) -> None:
    hexes = [response.hex().upper() if upper else response.hex() for response in responses]
    assert parse_report(_report(*hexes), 3).responses == tuple(responses)


@given(
    st.integers(1, 3), st.lists(st.binary(min_size=4, max_size=261), max_size=8), st.booleans(), st.text(max_size=20)
)
def test_every_command_goes_out_in_its_order(number: int, commands: list[bytes], stop: bool, text: str) -> None:
    message = build_order(Order(number, b"\x47", tuple(commands), stop=stop, notification=text, delay_ms=7))
    sent = message.get("ramCommands", [])
    names = [command["ramCommandType"] for command in sent]
    start = number == 1
    expected = {"ramStartCommand": start, "seRamCommand": commands, "notificationCommand": text, "ramStopCommand": stop}
    assert names == [name for name, wanted in expected.items() if wanted]
    apdus = [apdu for command in sent for apdu in command.get("listOfCAPDU", [])]
    assert [bytes.fromhex(apdu) for apdu in apdus] == commands
    assert message["delay"] == 7
    assert message["chosenSecureElement"] == {"seType": "undefined", "seId": "47"}


def test_a_void_report_has_no_responses_and_an_unavailable_one_is_empty() -> None:
    assert parse_report(_report(status="POLLING"), None).responses == ()
    assert parse_report(_report("9000", ""), None).responses == (b"\x90\x00", b"")


def test_both_spellings_of_ungranted_access_are_taken() -> None:
    for spelling in ("UNGRANTED_ACCESS", "UNGRANDED_ACCESS"):
        assert parse_report(_report(status=spelling), None).status is AgentStatus.UNGRANTED_ACCESS


def test_an_agent_s_error_text_is_cut_and_commands_no_screen() -> None:
    assert parse_report(_report(status="UNKNOWN_FAILURE", errorMsg="a\x1b[2J\nb\u202e"), None).error == "a?[2J?b?"
    assert len(parse_report(_report(status="UNKNOWN_FAILURE", errorMsg="x" * 999), None).error) == 200


@pytest.mark.parametrize("apdu", ["9", "90 00", "9G00", "0x90", "\uff19\uff10", "9000\n"])
def test_what_is_not_hex_is_refused(apdu: str) -> None:
    with pytest.raises(ValidationError):
        _report(apdu)


@pytest.mark.parametrize(
    "more",
    [
        {"supportedVersions": ["3.0.0", "2.0.0"]},
        {"supportedVersion": ["2.0.0"]},
        {"supportedTransportProtocol": ["HTTPS"]},
        {"supportedDataFormats": ["application/cbor", "application/json"]},
        {"somethingNew": 1},
    ],
)
def test_a_proposal_we_can_meet_fits(more: dict[str, Any]) -> None:
    assert _handshake().fits
    assert _handshake(**more).fits


@pytest.mark.parametrize(
    "more",
    [
        {"supportedVersions": ["1.0.0"]},
        {"supportedVersion": ["1.0.0"]},
        {"supportedTransportProtocols": ["MQTT"]},
        {"supportedDataFormats": []},
    ],
)
def test_a_proposal_we_cannot_meet_does_not_fit(more: dict[str, Any]) -> None:
    assert not _handshake(**more).fits


def test_elements_that_cannot_be_cards_are_left_out() -> None:
    elements = [{"seType": "uicc", "seId": text} for text in ("4712ab", "not hex", "", "47" * 33, "4712345")]
    assert _handshake(secureElements=elements).identities() == (b"\x47\x12\xab",)


def test_the_handshake_answer_carries_both_names_of_the_format() -> None:
    answer = build_handshake_response()
    assert answer["chosenDataProtocol"] == answer["chosenDataFormat"] == "application/json"
    assert answer["chosenVersion"] == "2.0.0"


@pytest.mark.parametrize("text", ["", "1", "0f96af97f87945a2a011ee7439df3804", "g" * 36, f"{UUID}1"])
def test_a_session_id_is_a_uuid(text: str) -> None:
    assert SessionQuery(sessionId=UUID).session_id.startswith("0f96af97-")
    with pytest.raises(ValidationError):
        SessionQuery(sessionId=text)


def test_no_repr_shows_a_response() -> None:
    message = _report("DEADBEEF9000")
    assert "DEADBEEF" not in repr(message)
    assert "deadbeef" not in repr(parse_report(message, None)).lower()
