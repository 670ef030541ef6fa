"""The server's client: cookies, reconnecting, problem documents, TLS faults."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from terminal.client import Applied, PendingCard, PendingWork, ServerClient, open_http
from terminal.config import TerminalConfig
from terminal.errors import TerminalCode, TerminalError
from terminal.seram import VOID_REPORT

Handler = Callable[[httpx.Request], httpx.Response]


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def make_client(handler: Handler, clock: Clock | None = None) -> ServerClient:
    clock = clock or Clock()
    http = httpx.Client(base_url="https://kms.test", transport=httpx.MockTransport(handler))
    return ServerClient(http, reconnect=300, sleep=clock.sleep, monotonic=lambda: clock.now)


def refuse(handler: Handler) -> TerminalError:
    with make_client(handler) as client, pytest.raises(TerminalError) as caught:
        client.report("s", VOID_REPORT, {})
    return caught.value


def test_a_report_carries_the_cookies_it_is_given_and_no_later_ones() -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Cookie"))
        return httpx.Response(200, json={}, headers={"Set-Cookie": f"kms-order={len(seen)}; Path=/gp/seram; Secure"})

    client = make_client(handler)
    first = client.report("s", VOID_REPORT, {})
    second = client.report("s", VOID_REPORT, first.cookies)
    client.report("s", VOID_REPORT, first.cookies)
    client.report("s", VOID_REPORT, {})
    assert dict(second.cookies) == {"kms-order": "2"}
    assert seen == [None, "kms-order=1", "kms-order=1", None]


def test_other_cookies_of_the_server_stay() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        cookie = "node=a" if "Cookie" not in request.headers else "kms-order=2"
        return httpx.Response(200, json={}, headers={"Set-Cookie": cookie})

    client = make_client(handler)
    first = client.report("s", VOID_REPORT, {})
    assert dict(client.report("s", VOID_REPORT, first.cookies).cookies) == {"node": "a", "kms-order": "2"}


def test_network_trouble_and_5xx_are_tried_again_with_the_same_report() -> None:
    clock, bodies = Clock(), list[tuple[bytes, str | None]]()
    heard: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append((request.content, request.headers.get("Cookie")))
        if len(bodies) == 1:
            raise httpx.ReadError("cut")
        if len(bodies) == 2:
            return httpx.Response(503, json={"title": "HSM away", "code": "hsm.unavailable"})
        return httpx.Response(200, json={})

    client = make_client(handler, clock)
    client.on_retry = lambda problem, pause: heard.append(pause)  # noqa: ARG005 -- the pauses are looked at
    client.report("s", VOID_REPORT, {"kms-order": "4"})
    assert len(set(bodies)) == 1
    assert bodies[0][1] == "kms-order=4"
    assert client.requests == 3
    assert clock.slept == heard == [0.5, 1.0]


def test_after_five_minutes_it_gives_up_and_says_why() -> None:
    clock = Clock()

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(TerminalError) as caught:
        make_client(handler, clock).report("s", VOID_REPORT, {})
    assert caught.value.code is TerminalCode.SERVER_UNREACHABLE
    assert 270 < clock.now <= 300
    assert max(clock.slept) == 15


def test_a_busy_card_is_asked_for_again_a_few_times() -> None:
    conflict = {"title": "Conflict", "code": "visit.conflict", "detail": "report again"}
    answers = [httpx.Response(409, json=conflict), httpx.Response(200, json={})]
    client = make_client(lambda _: answers.pop(0))
    client.report("s", VOID_REPORT, {})
    assert client.requests == 2
    for_ever = make_client(lambda _: httpx.Response(409, json=conflict))
    with pytest.raises(TerminalError) as caught:
        for_ever.report("s", VOID_REPORT, {})
    assert caught.value.code is TerminalCode.SERVER_REFUSED
    assert for_ever.requests == 5


def test_a_wrong_certificate_is_not_waited_for() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("tls") from ssl.SSLCertVerificationError(1, "self-signed certificate")

    assert refuse(handler).code is TerminalCode.SERVER_TLS


def test_a_refused_client_certificate_is_not_waited_for() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("tls") from ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]")

    assert refuse(handler).code is TerminalCode.SERVER_TLS


def test_a_cut_tls_connection_is_waited_for() -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("tls") from ssl.SSLEOFError(8, "EOF occurred in violation of protocol")

    assert refuse(handler).code is TerminalCode.SERVER_UNREACHABLE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, TerminalCode.SERVER_REFUSED),
        (401, TerminalCode.SERVER_UNAUTHORISED),
        (403, TerminalCode.SERVER_UNAUTHORISED),
        (404, TerminalCode.SESSION_OVER),
        (406, TerminalCode.SERVER_REFUSED),
        (409, TerminalCode.SERVER_REFUSED),
        (302, TerminalCode.SERVER_REFUSED),
        (500, TerminalCode.SERVER_UNREACHABLE),
    ],
)
def test_problem_documents_become_errors(status: int, code: TerminalCode) -> None:
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": "It is closed.", "code": "x.closed"}
    error = refuse(lambda _: httpx.Response(status, json=problem))
    assert error.code is code
    assert "It is closed" in error.problem
    assert "x.closed" in error.problem


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail": 7}', b"\xff", b"[" * 100_000])
def test_any_body_of_a_refusal_is_survived(body: bytes) -> None:
    assert refuse(lambda _: httpx.Response(400, content=body)).code is TerminalCode.SERVER_REFUSED


def test_a_card_that_is_set_aside_says_nothing_about_the_terminal() -> None:
    problem = {"code": "card.quarantined", "detail": "the card is set aside"}
    error = refuse(lambda _request: httpx.Response(403, json=problem))
    assert (error.code, error.server_code) == (TerminalCode.SERVER_REFUSED, "card.quarantined")
    assert "enrolled" not in error.remedy


def test_an_application_gives_the_visits_session() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"card": {"identity": "0102"}, "application": "A000000001"}
        return httpx.Response(201, json={"sessionId": "abc", "state": "REQUESTED", "card": "0102"})

    assert make_client(handler).apply(b"\x01\x02", bytes.fromhex("A000000001")) == Applied("abc", "REQUESTED")


@pytest.mark.parametrize("answer", [{}, {"sessionId": ""}, {"sessionId": 4}, {"sessionId": "a", "state": 1}, []])
def test_an_application_without_a_session_is_refused(answer: object) -> None:
    with pytest.raises(TerminalError) as caught:
        make_client(lambda _: httpx.Response(201, json=answer)).apply(b"\x01", b"12345")
    assert caught.value.code is TerminalCode.SERVER_PROTOCOL


def test_pending_work_is_read_page_by_page() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params.get("cursor", "0"))
        work = {"aid": "A000000001", "reason": "EXPIRY", "dueAt": "2030-01-01T00:00:00Z"}
        card = {"identity": f"0{page}", "pending": [work]}
        return httpx.Response(200, json={"cards": [card], "next": str(page + 1) if page < 2 else None})

    found = make_client(handler).list_pending()
    assert [card.identity for card in found] == ["00", "01", "02"]
    assert found[0] == PendingCard("00", (PendingWork("A000000001", "EXPIRY", "2030-01-01T00:00:00Z"),))


def test_pending_work_of_one_card_is_asked_for_by_identity() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["card"])
        return httpx.Response(200, json={"cards": []})

    assert make_client(handler).list_pending(b"\xab") == ()
    assert asked == ["AB"]


@pytest.mark.parametrize(
    "answer", [{}, {"cards": 1}, {"cards": [1]}, {"cards": [{"identity": 1, "pending": []}]}, {"cards": [{}]}, []]
)
def test_a_malformed_list_is_refused(answer: object) -> None:
    with pytest.raises(TerminalError) as caught:
        make_client(lambda _: httpx.Response(200, json=answer)).list_pending()
    assert caught.value.code is TerminalCode.SERVER_PROTOCOL


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    config = TerminalConfig(
        "https://kms.test", tmp_path / "ca.pem", tmp_path / "t.pem", tmp_path / "t.key", tmp_path / "j"
    )
    with pytest.raises(TerminalError) as caught:
        open_http(config)
    assert caught.value.code is TerminalCode.CONFIG_INVALID
    assert "ca.pem" in caught.value.problem
