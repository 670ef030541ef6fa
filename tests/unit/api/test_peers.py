import base64
from typing import Any

import pytest

from kms.domain.transfers import TransferState
from tests.fakes.api_transfers import CARD, COMMANDS, TEXT
from tests.unit.api.conftest import OTHER_PEER, Line, read_body

ID = "0f96af97-f879-45a2-a011-ee7439df3804"
TRANSFERS = "/peer/v1/transfers"
WANTED: dict[str, Any] = {
    "transferId": ID,
    "reason": "create",
    "cardIdentity": CARD.hex().upper(),
    "aid": "A0000009520001",
    "privileges": "80",
    "keyType": "DES2",
}
VOID: dict[str, Any] = {"answersOrder": None, "status": "POLLING", "responses": []}


def _report(number: int | None, *responses: str) -> dict[str, Any]:
    return {"answersOrder": number, "status": "PROCESSED", "responses": list(responses)}


def _prove(line: Line) -> None:
    client = line.client()
    client.post(TRANSFERS, json=WANTED)
    for report in (VOID, _report(1, "9000"), _report(2, "9000")):
        client.post(f"{TRANSFERS}/{ID}/report", json=report)


def test_a_transfer_from_request_to_control(line: Line) -> None:
    client = line.client()
    answer = client.post(TRANSFERS, json=WANTED)
    assert answer.status_code == 201
    assert read_body(answer) == {
        "state": "REQUESTED",
        "kdd": "00010203040506070809",
        "scp02I": 0x55,
        "scp03I": None,
        "profile": "default",
        "refusal": "",
    }
    first = read_body(client.post(f"{TRANSFERS}/{ID}/report", json=VOID))
    assert first == {
        "order": 1,
        "commands": [command.hex().upper() for command in COMMANDS],
        "ended": False,
        "state": "REQUESTED",
        "text": "",
    }
    client.post(f"{TRANSFERS}/{ID}/report", json=_report(1, "9000", "", "6f109000"))
    assert line.transfers.reports[-1].responses == (b"\x90\x00", b"", b"\x6f\x10\x90\x00")
    last = read_body(client.post(f"{TRANSFERS}/{ID}/report", json=_report(2, "9000")))
    assert (last["order"], last["commands"], last["ended"], last["text"]) == (3, [], True, TEXT)
    envelope = read_body(client.post(f"{TRANSFERS}/{ID}/hand-over", json={}))
    assert base64.b64decode(envelope["payload"], validate=True) == b'{"type":"kms-hand-over"}'
    assert base64.b64decode(envelope["signature"], validate=True) == bytes(range(64))
    assert envelope["state"] == "HANDED_OVER"
    assert read_body(client.post(f"{TRANSFERS}/{ID}/control-accepted", json={})) == {"state": "CLOSED"}
    assert read_body(client.get(f"{TRANSFERS}/{ID}")) == {
        **WANTED,
        "state": "CLOSED",
        "refusal": "",
        "requestedAt": "2026-03-01T12:00:00Z",
        "handedOverAt": "2026-03-01T12:00:00Z",
        "closedAt": "2026-03-01T12:00:00Z",
    }
    assert {peer for peer, _call in line.transfers.calls} == {"bikes"}


def test_every_request_may_be_repeated(line: Line) -> None:
    client = line.client()
    assert client.post(TRANSFERS, json=WANTED).text == client.post(TRANSFERS, json=WANTED).text
    client.post(f"{TRANSFERS}/{ID}/report", json=VOID)
    again = [client.post(f"{TRANSFERS}/{ID}/report", json=_report(1, "9000")).text for _ in range(2)]
    assert again[0] == again[1]
    client.post(f"{TRANSFERS}/{ID}/report", json=_report(2, "9000"))
    for step in ("hand-over", "hand-over", "control-accepted", "control-accepted"):
        assert client.post(f"{TRANSFERS}/{ID}/{step}", json={}).status_code == 200


def test_an_order_number_of_none_is_not_one_of_zero(line: Line) -> None:
    client = line.client()
    client.post(TRANSFERS, json=WANTED)
    client.post(f"{TRANSFERS}/{ID}/report", json=VOID)
    assert line.transfers.reports[-1].answers_order is None


def test_another_peer_s_transfer_is_not_there(line: Line) -> None:
    _prove(line)
    line.certificate = OTHER_PEER
    client = line.client()
    answers = [
        client.get(f"{TRANSFERS}/{ID}"),
        client.post(f"{TRANSFERS}/{ID}/report", json=VOID),
        client.post(f"{TRANSFERS}/{ID}/hand-over", json={}),
        client.post(f"{TRANSFERS}/{ID}/control-accepted", json={}),
    ]
    assert {(answer.status_code, read_body(answer)["code"]) for answer in answers} == {(404, "transfer.unknown")}
    assert line.transfers.transfers[ID].state is TransferState.PROVED


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"transferId": "x"}, "transferId"),
        ({"transferId": ID.upper()}, "transferId"),
        ({"transferId": f"{ID}\n"}, "transferId"),
        ({"reason": "theft"}, "reason"),
        ({"cardIdentity": ""}, "cardIdentity"),
        ({"cardIdentity": "00" * 33}, "cardIdentity"),
        ({"cardIdentity": 47}, "cardIdentity"),
        ({"aid": "A0"}, "aid"),
        ({"privileges": "8000"}, "privileges"),
        ({"keyType": "DES"}, "keyType"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_request_of_another_form_is_refused_by_its_field(line: Line, change: dict[str, Any], where: str) -> None:
    answer = line.client().post(TRANSFERS, json={**WANTED, **change})
    assert (answer.status_code, read_body(answer)["code"]) == (400, "input.invalid")
    assert [fault["where"] for fault in read_body(answer)["faults"]] == [f"body.{where}"]
    assert line.transfers.calls == []


@pytest.mark.parametrize(
    "report",
    [
        {"status": "PROCESSED", "responses": []},
        {**VOID, "answersOrder": "1"},
        {**VOID, "answersOrder": True},
        {**VOID, "answersOrder": -1},
        {**VOID, "answersOrder": 1.0},
        {**VOID, "status": "FINE"},
        {**VOID, "responses": ["9"]},
        {**VOID, "responses": "9000"},
        {**VOID, "responses": ["9000"] * 257},
        {**VOID, "cookie": "1"},
        [],
        "POLLING",
    ],
)
def test_a_report_of_another_form_is_refused(line: Line, report: Any) -> None:  # noqa: ANN401 (JSON)
    answer = line.client().post(f"{TRANSFERS}/{ID}/report", json=report)
    assert (answer.status_code, read_body(answer)["code"]) == (400, "input.invalid")
    assert line.transfers.calls == []


@pytest.mark.parametrize("step", ["hand-over", "control-accepted"])
def test_steps_without_fields_take_none(line: Line, step: str) -> None:
    assert line.client().post(f"{TRANSFERS}/{ID}/{step}", json={"why": 1}).status_code == 400
    assert line.client().post(f"{TRANSFERS}/{ID}/{step}", data="{}", content_type="text/plain").status_code == 415
    assert line.transfers.calls == []


def test_duplicate_keys_are_refused(line: Line) -> None:
    body = '{"answersOrder": 1, "answersOrder": null, "status": "POLLING", "responses": []}'
    answer = line.client().post(f"{TRANSFERS}/{ID}/report", data=body, content_type="application/json")
    assert answer.status_code == 400


def test_a_transfer_s_id_is_a_uuid(line: Line) -> None:
    assert line.client().get(f"{TRANSFERS}/../x").status_code == 404
    assert line.client().get(f"{TRANSFERS}/17").status_code == 404
    assert line.transfers.calls == []


def test_the_log_names_the_peer_and_no_apdu(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _prove(line)
    fields = [vars(record)["kms_fields"] for record in caplog.records if record.message == "request"]
    assert {entry["peer"] for entry in fields} == {"bikes"}
    assert {entry["route"] for entry in fields} == {TRANSFERS, f"{TRANSFERS}/<uuid:transfer_id>/report"}
    assert COMMANDS[1].hex() not in str(fields).lower()
