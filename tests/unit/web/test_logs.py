import json
import logging
import sys

import pytest
from flask.testing import FlaskClient

from kms.errors import Code, KmsError
from kms.web.logs import JsonFormatter, configure_logs
from tests.fakes.api_platform import CARD, SESSION


def _requests(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record)["kms_fields"] for record in caplog.records if record.message == "request"]


def test_a_request_is_logged_without_what_it_carried(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    body = {"secureElements": [{"seType": "eSE", "seId": CARD.hex()}]}
    client.post(f"/gp/seram/handshake?sessionId={SESSION}&pin=4711", json=body, headers={"X-Key": "swordfish"})
    (line,) = _requests(caplog)
    assert (line["method"], line["route"], line["status"]) == ("POST", "/gp/seram/handshake", 200)
    assert line["terminal"] == "terminal-1"
    assert isinstance(line["ms"], float)
    text = " ".join(JsonFormatter().format(record) for record in caplog.records)
    for secret in (CARD.hex(), SESSION, "4711", "swordfish"):
        assert secret not in text.lower()


def test_an_address_that_is_none_of_ours_is_not_logged_as_sent(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.get("/404142434445")
    assert [line["route"] for line in _requests(caplog)] == [None]


def test_the_leased_line_s_client_does_not_log_addresses_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_settings: None)  # this process has handlers of its own
    client_log = logging.getLogger("httpx")
    before = client_log.level
    configure_logs(logging.DEBUG)
    assert not client_log.isEnabledFor(logging.INFO)
    client_log.setLevel(before)


def test_a_line_is_one_json_object(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("kms.test").info("two\nlines")
    line = JsonFormatter().format(caplog.records[0])
    assert "\n" not in line
    assert json.loads(line)["message"] == "two\nlines"


def _format(error: Exception) -> str:
    try:
        raise error
    except type(error):
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    return JsonFormatter().format(record)


def test_an_exception_shows_where_it_was_and_not_what_it_said() -> None:
    line = _format(RuntimeError("404142"))
    assert "404142" not in line
    assert "RuntimeError" in line
    assert "test_logs.py" in line


def test_our_own_error_shows_its_text_which_is_safe() -> None:
    assert "The token is away" in _format(KmsError(Code.HSM_UNAVAILABLE, "The token is away"))
