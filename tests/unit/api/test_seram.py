from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.api_platform import CARD, QUARANTINED, SESSION, FakePlatform
from tests.unit.api.conftest import read_body

HANDSHAKE = f"/gp/seram/handshake?sessionId={SESSION}"
MANAGEMENT = f"/gp/seram/remoteManagement?sessionId={SESSION}"
VOID = {"localAgentStatus": {"localAgentStatusEnum": "POLLING", "executedSeRamCommands": 0}}


def _cards(*identities: bytes) -> dict[str, Any]:
    return {"secureElements": [{"seType": "undefined", "seId": identity.hex()} for identity in identities]}


def test_a_visit_is_handshake_orders_and_a_stop(client: FlaskClient, platform: FakePlatform) -> None:
    answer = client.post(HANDSHAKE, json=_cards(b"\x01", CARD))
    assert answer.status_code == 200
    first = client.post(MANAGEMENT, json=VOID)
    commands = read_body(first)["ramCommands"]
    assert [command["ramCommandType"] for command in commands] == [
        "ramStartCommand",
        "seRamCommand",
    ]
    assert read_body(first)["chosenSecureElement"]["seId"] == CARD.hex().upper()
    assert first.headers["Set-Cookie"].startswith("kms-order=1;")
    report = {
        "localAgentStatus": {"localAgentStatusEnum": "PROCESSED", "executedSeRamCommands": 1},
        "ramResponses": [{"ramResponseType": "seRamResponse", "listOfRAPDU": ["9000"]}],
    }
    second = client.post(MANAGEMENT, json=report, headers={"Cookie": "kms-order=1"})
    assert read_body(second)["ramCommands"] == [{"ramCommandType": "ramStopCommand"}]
    assert [report.answers_order for report in platform.visits.reports] == [None, 1]
    assert platform.visits.reports[1].responses == (b"\x90\x00",)


@pytest.mark.parametrize("cookie", ["kms-order=x", "kms-order=", "other=1", "kms-order=-1"])
def test_a_malformed_cookie_counts_as_none(client: FlaskClient, platform: FakePlatform, cookie: str) -> None:
    client.post(HANDSHAKE, json=_cards(CARD))
    assert client.post(MANAGEMENT, json=VOID, headers={"Cookie": cookie}).status_code == 200
    assert platform.visits.reports[0].answers_order is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (_cards(b"\x01"), 404, "card.unknown"),
        (_cards(), 404, "card.unknown"),
        (_cards(QUARANTINED), 403, "card.quarantined"),
        ({**_cards(CARD), "supportedVersions": ["1.0.0"]}, 406, "visit.proposal-refused"),
        ({}, 400, "input.invalid"),
        ({"secureElements": "all"}, 400, "input.invalid"),
    ],
)
def test_a_handshake_that_cannot_be_answered_says_why(
    client: FlaskClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(HANDSHAKE, json=body)
    assert (answer.status_code, read_body(answer)["code"]) == (status, code)


def test_a_report_without_a_visit_is_not_found(client: FlaskClient) -> None:
    answer = client.post(MANAGEMENT, json=VOID)
    assert (answer.status_code, read_body(answer)["code"]) == (404, "visit.session-unknown")


@pytest.mark.parametrize("address", ["/gp/seram/remoteManagement", "/gp/seram/remoteManagement?sessionId=1"])
def test_a_session_id_that_is_no_uuid_is_refused(client: FlaskClient, address: str) -> None:
    answer = client.post(address, json=VOID)
    assert (answer.status_code, read_body(answer)["faults"][0]["where"]) == (400, "query.sessionId")
