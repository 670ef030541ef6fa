"""SERAM messages: what is taken, in both spellings, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal import seram
from terminal.errors import TerminalCode, TerminalError
from terminal.seram import (
    AgentStatus,
    NotificationCommand,
    Order,
    Report,
    SeRamCommand,
    StartCommand,
    StopCommand,
    build_handshake,
    build_report,
    check_handshake_response,
    parse_order,
)

apdus = st.binary(min_size=4, max_size=261)
commands = st.one_of(
    st.just(StartCommand()),
    st.just(StopCommand()),
    st.builds(SeRamCommand, st.lists(apdus, max_size=4).map(tuple)),
    st.builds(NotificationCommand, st.text(max_size=40)),
)


def write(command: object, *, mapping: bool) -> dict[str, Any]:
    match command:
        case SeRamCommand(listed):
            return {"ramCommandType": "seRamCommand", "listOfCAPDU": [apdu.hex().upper() for apdu in listed]}
        case NotificationCommand(text):
            return {"ramCommandType": "notificationCommand", "deviceAppNotification": text}
        case StartCommand():
            return {"ramCommandType": "ramStartCommand" if mapping else "startCommand"}
        case _:
            return {"ramCommandType": "ramStopCommand" if mapping else "stopCommand"}


def refuse(message: object) -> str:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    with pytest.raises(TerminalError) as caught:
        parse_order(body)
    assert caught.value.code is TerminalCode.SERVER_PROTOCOL
    return caught.value.problem


def parse_or_refuse(body: bytes) -> None:
    code = TerminalCode.SERVER_PROTOCOL
    try:
        parse_order(body)
    except TerminalError as error:
        code = error.code
    assert code is TerminalCode.SERVER_PROTOCOL


@given(st.lists(commands, min_size=1, max_size=6), st.integers(0, 600_000), st.booleans())
def test_orders_are_read_in_either_spelling(listed: list[Any], delay: int, mapping: bool) -> None:
    message = {"delay": delay, "ramCommands": [write(command, mapping=mapping) for command in listed], "newField": 1}
    assert parse_order(json.dumps(message).encode()) == Order(tuple(listed), delay)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_order_or_the_one_error(body: bytes) -> None:
    parse_or_refuse(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["ramCommands", "ramCommandType", "listOfCAPDU", "delay", "chosenSecureElement", "seId", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_gives_an_order_or_the_one_error(message: object) -> None:
    parse_or_refuse(json.dumps(message).encode())


def test_an_order_may_say_nothing_but_wait() -> None:
    assert parse_order(b"{}") == Order((), 100)
    assert parse_order(b'{"delay": 500}') == Order((), 500)


def test_the_secure_element_is_read() -> None:
    message = {"chosenSecureElement": {"seType": "undefined", "seId": "0102ab"}}
    assert parse_order(json.dumps(message).encode()).se_id == "0102AB"


def test_commands_after_a_stop_are_not_carried_out() -> None:
    order = Order((SeRamCommand((b"1111",)), StopCommand(), SeRamCommand((b"2222",))))
    assert order.stops
    assert order.apdu_commands == (SeRamCommand((b"1111",)),)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"<html>",
        [],
        None,
        b'{"delay": 1, "delay": 2}',
        b'{"ramCommands": [{"ramCommandType": "stopCommand", "ramCommandType": "startCommand"}]}',
        {"delay": -1},
        {"delay": True},
        {"delay": "100"},
        {"delay": 1.5},
        {"delay": 10_000_000},
        {"ramCommands": []},
        {"ramCommands": None},
        {"ramCommands": {"ramCommandType": "stopCommand"}},
        {"ramCommands": ["stopCommand"]},
        {"ramCommands": [{}]},
        {"ramCommands": [{"ramCommandType": "format"}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand"}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": "00A40400"}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["00A40400OA"]}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["00A404"]}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["00A4040"]}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["00A40400 "]}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["00" * 262]}]},
        {"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": [12]}]},
        {"ramCommands": [{"ramCommandType": "notificationCommand"}]},
        {"ramCommands": [{"ramCommandType": "notificationCommand", "deviceAppNotification": 7}]},
        {"chosenSecureElement": "0102"},
        {"chosenSecureElement": {"seId": "0102"}},
        {"chosenSecureElement": {"seType": "undefined", "seId": 3}},
    ],
)
def test_malformed_orders_are_refused(message: object) -> None:
    refuse(message)


def test_a_refusal_shows_no_apdu() -> None:
    problem = refuse({"ramCommands": [{"ramCommandType": "seRamCommand", "listOfCAPDU": ["84D80181C0FFEEXX"]}]})
    assert "C0FFEE" not in problem


def test_apdus_do_not_show_in_a_repr() -> None:
    order = Order((SeRamCommand((bytes.fromhex("84D80181C0FFEE"),)),))
    report = Report(AgentStatus.PROCESSED, 1, ((b"\xc0\xff\xee\x90\x00",),))
    assert "xc0" not in repr(order)
    assert "xc0" not in repr(report)


def test_the_handshake_offers_the_card_by_its_identity() -> None:
    assert build_handshake(b"\x01\xab")["secureElements"] == [{"seType": "undefined", "seId": "01AB"}]


@pytest.mark.parametrize("field", ["chosenDataProtocol", "chosenDataFormat"])
def test_a_handshake_response_may_name_the_format_either_way(field: str) -> None:
    answer = {"chosenTransportProtocol": "HTTPS", field: "application/json", "chosenVersion": "2.0.0"}
    check_handshake_response(json.dumps(answer).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"chosenTransportProtocol": "MQTT"},
        {"chosenDataFormat": "application/cbor"},
        {"chosenDataProtocol": "application/cbor"},
        {"chosenVersion": "3.0.0"},
        {"chosenVersion": None},
    ],
)
def test_a_handshake_response_with_another_choice_is_refused(change: dict[str, Any]) -> None:
    answer = {"chosenTransportProtocol": "HTTPS", "chosenDataFormat": "application/json", "chosenVersion": "2.0.0"}
    with pytest.raises(TerminalError):
        check_handshake_response(json.dumps(answer | change).encode())


def test_a_report_gives_each_command_its_responses() -> None:
    report = Report(AgentStatus.PROCESSED, 2, ((b"\x90\x00", b"\x6a\x88"), (b"",)))
    assert build_report(report) == {
        "localAgentStatus": {"localAgentStatusEnum": "PROCESSED", "executedSeRamCommands": 2},
        "ramResponses": [
            {"ramResponseType": "seRamResponse", "listOfRAPDU": ["9000", "6A88"]},
            {"ramResponseType": "seRamResponse", "listOfRAPDU": [""]},
        ],
    }


def test_a_void_report_holds_the_status_alone() -> None:
    assert json.loads(json.dumps(build_report(seram.VOID_REPORT))) == {
        "localAgentStatus": {"localAgentStatusEnum": "POLLING", "executedSeRamCommands": 0}
    }


def test_an_error_is_told() -> None:
    built = build_report(Report(AgentStatus.UNAVAILABLE_SE, 0, ((b"",),), "the card was removed"))
    assert built["localAgentStatus"] == {
        "localAgentStatusEnum": "UNAVAILABLE_SE",
        "executedSeRamCommands": 0,
        "errorMsg": "the card was removed",
    }
