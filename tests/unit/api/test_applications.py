from typing import Any

import pytest
from flask.testing import FlaskClient

from kms.domain.pending import PendingFilter
from kms.domain.updates import UpdateReason
from tests.fakes.api_platform import APPLICATION, AT, CARD, QUARANTINED, SESSION, FakePlatform
from tests.unit.api.conftest import read_body

ADDRESS = "/api/v1/applications"


def _body(card: bytes = CARD, application: bytes = APPLICATION) -> dict[str, Any]:
    return {"card": {"identity": card.hex()}, "application": application.hex()}


def test_an_application_answers_with_the_visit_to_come(client: FlaskClient) -> None:
    answer = client.post(ADDRESS, json=_body())
    assert answer.status_code == 201
    assert answer.json == {
        "sessionId": SESSION,
        "application": APPLICATION.hex().upper(),
        "card": CARD.hex().upper(),
        "state": "REQUESTED",
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (_body(card=b"\x01"), 404, "card.unknown"),
        (_body(card=QUARANTINED), 403, "card.quarantined"),
        (_body(application=b"\xa0" * 5), 404, "input.not-found"),
        (_body(application=b"\xa0" * 4), 400, "input.invalid"),
        (_body(card=b"\x47" * 33), 400, "input.invalid"),
        ({**_body(), "colour": 1}, 400, "input.invalid"),
        ({"application": APPLICATION.hex()}, 400, "input.invalid"),
    ],
)
def test_an_application_that_cannot_be_taken_says_why(
    client: FlaskClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(ADDRESS, json=body)
    assert (answer.status_code, read_body(answer)["code"]) == (status, code)


def test_pending_cards_come_in_pages(client: FlaskClient) -> None:
    first = read_body(client.get("/api/v1/pending?limit=2"))
    assert [card["identity"] for card in first["cards"]] == ["4700", "4701"]
    assert first["cards"][0]["pending"] == [
        {"aid": "A0000009510001", "reason": "expiry", "dueAt": "2026-03-01T12:00:00Z"}
    ]
    last = read_body(client.get(f"/api/v1/pending?limit=2&cursor={first['next']}"))
    assert ([card["identity"] for card in last["cards"]], last["next"]) == (["4702"], None)


def test_pending_is_narrowed_by_domain_reason_and_time(client: FlaskClient, platform: FakePlatform) -> None:
    query = "aid=A0000009510001&reason=expiry&dueBefore=2026-03-01T12:00:00Z"
    assert client.get(f"/api/v1/pending?{query}").status_code == 200
    assert platform.pending.asked == [PendingFilter(bytes.fromhex("A0000009510001"), UpdateReason.EXPIRY, AT)]


def test_pending_of_one_card(client: FlaskClient) -> None:
    assert [card["identity"] for card in read_body(client.get("/api/v1/pending?card=4701"))["cards"]] == ["4701"]


WRONG = ("card=47x1", "limit=0", "limit=201", "limit=ten", "cursor=x", "reason=bored", "dueBefore=soon", "aid=47")


@pytest.mark.parametrize("query", [*WRONG, "offset=1", "colour=1"])
def test_a_wrong_query_is_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"/api/v1/pending?{query}").status_code == 400
