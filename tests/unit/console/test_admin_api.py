"""The admin API's own rules; who may do what through it is tests/unit/console/test_matrix.py's."""

import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from kms.console.admin_api import MAX_BODY, create_admin_api
from kms.console.attempts import AttemptLimiter
from tests.fakes.acting_people import CODE, PASSWORD, Office

LOGIN = {"login": "security-officer", "password": PASSWORD, "totp": CODE}
OFFICER = {"Authorization": "Bearer secret-security-officer"}
OTHER = {"Authorization": "Bearer secret-other"}
GENERATE = {"parameters": {"kind": "ssd", "name": "ssd"}}


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def client(office: Office) -> FlaskClient:
    return create_admin_api(office.services).test_client()


def ask(client: FlaskClient) -> dict[str, Any]:
    answer = client.post("/v1/actions/keys.generate", json=GENERATE, headers=OFFICER)
    assert answer.status_code == 202
    request: dict[str, Any] = answer.get_json()["request"]
    return request


def test_a_login_gives_a_secret_and_says_who_it_is(client: FlaskClient) -> None:
    answer = client.post("/v1/login", json=LOGIN)
    body = answer.get_json()
    assert body["secret"] == "secret-security-officer"
    assert (body["platform"], body["roles"]) == ("issuer", ["security-officer"])
    assert "Set-Cookie" not in answer.headers
    shown = client.get("/v1/whoami", headers=OFFICER).get_json()
    assert "secret" not in shown
    assert shown["name"] == "security-officer"


@pytest.mark.parametrize("change", [{"password": "x"}, {"totp": "000000"}, {"login": "nobody"}])
def test_a_wrong_login_is_refused_alike(client: FlaskClient, change: dict[str, str]) -> None:
    answer = client.post("/v1/login", json={**LOGIN, **change})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "login.refused")
    assert answer.mimetype == "application/problem+json"


def test_too_many_attempts_from_one_address_are_refused(office: Office) -> None:
    client = create_admin_api(office.services, AttemptLimiter(time.monotonic, attempts=2)).test_client()
    codes = [client.post("/v1/login", json={**LOGIN, "totp": "000000"}).get_json()["code"] for _ in range(2)]
    assert codes == ["login.refused", "login.refused"]
    assert client.post("/v1/login", json=LOGIN).get_json()["code"] == "login.locked"


def test_after_logging_out_the_secret_is_of_no_use(client: FlaskClient) -> None:
    assert client.post("/v1/logout", json={}, headers=OFFICER).status_code == 204
    assert client.get("/v1/whoami", headers=OFFICER).get_json()["code"] == "login.needed"


def test_asked_shown_approved_and_done(office: Office, client: FlaskClient) -> None:
    request = ask(client)
    listed = client.get("/v1/requests", headers=OTHER).get_json()["requests"]
    assert [item["id"] for item in listed] == [request["id"]]
    shown = client.get(f"/v1/requests/{request['id']}", headers=OTHER).get_json()["request"]
    assert shown["text"].startswith("Generate the ssd master key ssd")
    given = {"digest": shown["digest"], "totp": CODE}
    done = client.post(f"/v1/requests/{request['id']}/approve", json=given, headers=OTHER).get_json()["request"]
    assert done["state"] == "EXECUTED"
    assert [item["person_name"] for item in done["decisions"]] == ["other"]
    assert len(office.done) == 1
    again = client.post(f"/v1/requests/{request['id']}/approve", json=given, headers=OTHER)
    assert (again.status_code, again.get_json()["code"]) == (409, "request.state")
    assert client.get("/v1/requests", headers=OTHER).get_json()["requests"] == []
    assert len(client.get("/v1/requests?all=1", headers=OTHER).get_json()["requests"]) == 1


def test_only_what_was_shown_is_approved_or_rejected(office: Office, client: FlaskClient) -> None:
    request = ask(client)
    for verb, more in (("approve", {"totp": CODE}), ("reject", {})):
        answer = client.post(f"/v1/requests/{request['id']}/{verb}", json={"digest": "00" * 32, **more}, headers=OTHER)
        assert answer.get_json()["code"] == "request.changed"
    answer = client.post(
        f"/v1/requests/{request['id']}/approve", json={"digest": request["digest"], "totp": "000000"}, headers=OTHER
    )
    assert answer.get_json()["code"] == "login.refused"
    assert office.done == []
    rejected = client.post(f"/v1/requests/{request['id']}/reject", json={"digest": request["digest"]}, headers=OTHER)
    assert rejected.get_json()["request"]["state"] == "REJECTED"


@pytest.mark.parametrize("action", ["nothing.do", "audit.read", "records.read"])
def test_what_is_no_action_to_submit_is_not_found(client: FlaskClient, action: str) -> None:
    answer = client.post(f"/v1/actions/{action}", json={"parameters": {}}, headers=OFFICER)
    assert (answer.status_code, answer.get_json()["code"]) in {(404, "input.not-found"), (403, "person.not-permitted")}


def test_bodies_are_limited_and_only_a_card_file_may_be_long(office: Office, client: FlaskClient) -> None:
    long = {"parameters": {"content": "00" * MAX_BODY}}
    answer = client.post("/v1/actions/keys.generate", json=long, headers=OFFICER)
    assert answer.status_code == 413
    assert client.post("/v1/actions/cards.import", json=long, headers=OFFICER).status_code == 200
    auditor = {"Authorization": "Bearer secret-auditor"}
    assert client.post("/v1/actions/cards.import", json=long, headers=auditor).status_code == 413
    assert len(office.done) == 1


@pytest.mark.parametrize("path", ["/v1/whoami", "/v1/nothing", "/"])
def test_every_answer_is_protected(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["Content-Type"] == "application/problem+json"


def test_a_form_of_another_site_is_no_body(client: FlaskClient) -> None:
    answer = client.post("/v1/actions/keys.generate", data="{}", content_type="text/plain", headers=OFFICER)
    assert answer.status_code == 415


def test_a_fault_of_ours_says_nothing(office: Office, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office.logins, "authenticate", None)  # what nobody foresaw
    body = client.get("/v1/whoami", headers=OFFICER).get_json()
    assert body["code"] == "platform.internal"
    assert "NoneType" not in str(body)
