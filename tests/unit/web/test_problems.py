import pytest
from apiflask import HTTPError
from flask.testing import FlaskClient

from kms.api import create_api
from kms.errors import Code, Fault, KmsError
from kms.web.problems import STATUS, build_http_problem, parse_validation_faults
from tests.fakes.api_platform import SESSION, FakePlatform
from tests.unit.api.conftest import read_body

MANAGEMENT = f"/gp/seram/remoteManagement?sessionId={SESSION}"
VOID = {"localAgentStatus": {"localAgentStatusEnum": "POLLING"}}


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_an_error_becomes_a_problem_document(client: FlaskClient, platform: FakePlatform, code: Code) -> None:
    platform.visits.failure = KmsError(code, "words of the error", faults=(Fault("here", "wrong"),))
    answer = client.post(MANAGEMENT, json=VOID)
    assert answer.status_code == STATUS[code]
    assert answer.mimetype == "application/problem+json"
    assert read_body(answer)["type"] == f"urn:kms:problem:{code}"
    assert (read_body(answer)["status"], read_body(answer)["code"]) == (STATUS[code], code)
    assert ("words of the error" in read_body(answer)["detail"]) == (STATUS[code] != 500)
    assert (answer.headers.get("Retry-After") is not None) == (STATUS[code] == 503)


def test_an_unforeseen_error_leaks_nothing_but_a_reference(
    client: FlaskClient, platform: FakePlatform, caplog: pytest.LogCaptureFixture
) -> None:
    platform.visits.failure = RuntimeError("secret 404142434445464748494A4B4C4D4E4F")
    answer = client.post(MANAGEMENT, json=VOID)
    assert (answer.status_code, read_body(answer)["code"]) == (500, "platform.internal")
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    logged = [vars(record)["kms_fields"] for record in caplog.records if record.message == "failed"]
    assert [fields["reference"] for fields in logged] == [read_body(answer)["reference"]]
    assert "404142" not in str(logged)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "input.not-found"),
        ("GET", "/gp/seram/handshake", 405, "http.method-not-allowed"),
        ("PUT", "/gp/seram/handshake", 415, "http.media-type"),
    ],
)
def test_what_http_refuses_is_a_problem_document_too(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, read_body(answer)["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"
    if status == 405:
        assert "POST" in answer.headers["Allow"]


def test_rejected_values_are_not_echoed(client: FlaskClient) -> None:
    body = {"localAgentStatus": {"localAgentStatusEnum": "404142434445"}, "x" * 200: 1}
    answer = client.post(MANAGEMENT, json=body)
    assert answer.status_code == 400
    assert read_body(answer)["faults"][0]["where"] == "body.localAgentStatus.localAgentStatusEnum"
    assert "404142434445" not in answer.text


def test_the_name_of_an_unknown_key_is_shown_only_when_short_and_printable() -> None:
    names = ("card.colour", "x" * 81, "a\nb", "_schema")
    faults = parse_validation_faults({"json": {name: ["Unknown"] for name in names}})
    assert [fault.where for fault in faults] == ["body.card.colour", "body (a key)", "body (a key)", "body"]


def test_faults_are_limited() -> None:
    assert len(parse_validation_faults({"json": {f"f{number}": ["wrong"] for number in range(99)}})) == 20
    assert parse_validation_faults("words") == ()


def test_a_status_we_have_no_words_for_is_told_plainly() -> None:
    app = create_api(FakePlatform())
    with app.test_request_context():
        assert build_http_problem(HTTPError(418)).status_code == 418
        assert b"platform.internal" in build_http_problem(HTTPError(502)).data
