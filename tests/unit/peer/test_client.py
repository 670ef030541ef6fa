import json
from collections.abc import Callable

import httpx
import pytest

from kms.card.keys import KeyType
from kms.domain.orders import AgentStatus, Report
from kms.domain.transfers import TransferReason, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.peer import PeerClient
from kms.peer.client import ATTEMPTS, CALL_SECONDS, MAX_ANSWER, open_http
from kms.service.ports import PeerLine
from tests.unit.peer.conftest import PEER, Answer, Script
from tests.unit.peer.test_answers import ANSWER, ENVELOPE, ORDER

ID = "0f96af97-f879-45a2-a011-ee7439df3804"
WANTED = TransferRequest(
    transfer_id=ID,
    reason=TransferReason.CREATE,
    card_identity=b"\x47\xff",
    aid=bytes.fromhex("A0000009520001"),
    privileges=b"\x80",
    key_type=KeyType.DES2,
)
REPORT = Report(AgentStatus.PROCESSED, answers_order=1, responses=(b"\x6f\x00\x90\x00", b""))
VOID = Report(AgentStatus.POLLING, answers_order=None)

CALLS: list[Callable[[PeerLine], object]] = [
    lambda line: line.request(WANTED),
    lambda line: line.report(ID, REPORT),
    lambda line: line.hand_over(ID),
    lambda line: line.accept_control(ID),
]
GOOD: list[dict[str, object]] = [ANSWER, ORDER, ENVELOPE, {"state": "CLOSED"}]
IDS = ["request", "report", "hand-over", "control-accepted"]


def _ok(body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def _problem(status: int, code: str, detail: str = "so it is") -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": detail})


def _error(call: Callable[[PeerLine], object], client: PeerClient) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(client)
    return caught.value


def test_every_call_goes_to_its_address(script: Script) -> None:
    script.answers = [_ok(body) for body in GOOD]
    client = script.client()
    assert client.request(WANTED).profile == "default"
    assert client.report(ID, REPORT).number == 1
    assert client.hand_over(ID).payload == b"{}"
    assert client.accept_control(ID) is TransferState.CLOSED
    base = "/peer/v1/transfers"
    assert [request.url.path for request in script.requests] == [
        base,
        f"{base}/{ID}/report",
        f"{base}/{ID}/hand-over",
        f"{base}/{ID}/control-accepted",
    ]
    assert [json.loads(request.content) for request in script.requests] == [
        {
            "transferId": ID,
            "reason": "create",
            "cardIdentity": "47FF",
            "aid": "A0000009520001",
            "privileges": "80",
            "keyType": "DES2",
        },
        {"answersOrder": 1, "status": "PROCESSED", "responses": ["6F009000", ""]},
        {},
        {},
    ]


@pytest.mark.parametrize(("call", "good"), list(zip(CALLS, GOOD, strict=True)), ids=IDS)
@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x")])
def test_network_trouble_is_met_by_another_attempt(
    script: Script, call: Callable[[PeerLine], object], good: object, error: httpx.TransportError
) -> None:
    script.answers = [error, error, _ok(good)]
    call(script.client())
    assert len({request.content for request in script.requests}) == 1
    assert script.pauses == [0.2, 0.4]


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_attempts_end(script: Script, call: Callable[[PeerLine], object]) -> None:
    script.answers = [httpx.ConnectTimeout("x")] * ATTEMPTS
    error = _error(call, script.client())
    assert error.code is Code.PEER_UNREACHABLE
    assert "bank" in error.detail
    assert script.answers == []


def test_attempts_end_with_the_call_s_time(script: Script) -> None:
    def stall() -> httpx.Response:
        script.now += CALL_SECONDS
        raise httpx.ReadTimeout("x")

    script.answers = [stall, stall]
    assert _error(CALLS[0], script.client()).code is Code.PEER_UNREACHABLE
    assert len(script.requests) == 1


def test_a_report_that_answers_no_order_is_sent_once_unless_it_never_left(script: Script) -> None:
    script.answers = [httpx.ReadError("x")]
    assert _error(lambda line: line.report(ID, VOID), script.client()).code is Code.PEER_UNREACHABLE
    script.answers = [httpx.ConnectError("x"), _ok(ORDER)]
    assert script.client().report(ID, VOID).number == 1
    assert json.loads(script.requests[-1].content)["answersOrder"] is None


@pytest.mark.parametrize("call", CALLS, ids=IDS)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429])
def test_a_refusal_carries_the_issuer_s_code_and_text(
    script: Script, call: Callable[[PeerLine], object], status: int
) -> None:
    script.answers = [_problem(status, "transfer.state", "not proved\x1b yet")]
    error = _error(call, script.client())
    assert error.code is Code.PEER_REFUSED
    assert [(fault.where, fault.what) for fault in error.faults] == [("transfer.state", "not proved? yet")]
    assert f"HTTP {status}, transfer.state: not proved? yet" in error.detail


def test_another_visit_at_the_issuer_is_told_as_it_is(script: Script) -> None:
    script.answers = [_problem(409, "visit.conflict")]
    assert _error(CALLS[1], script.client()).code is Code.VISIT_CONFLICT


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_issuer_that_cannot_work_is_unreachable(script: Script, status: int) -> None:
    script.answers = [_problem(status, "hsm.unavailable")]
    error = _error(CALLS[2], script.client())
    assert error.code is Code.PEER_UNREACHABLE
    assert "hsm.unavailable" in error.detail


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://elsewhere.example"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b" " * (MAX_ANSWER + 1)),
        lambda: httpx.Response(200, content=iter([b"{}"]), headers={"Content-Encoding": "identity, br"}),
        httpx.Response(204),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_a_violation(script: Script, answer: Answer) -> None:
    script.answers = [answer]
    assert _error(CALLS[2], script.client()).code is Code.PEER_PROTOCOL
    assert len(script.requests) == 1


def test_an_answer_that_drips_is_given_up(script: Script) -> None:
    def drip() -> httpx.Response:
        def chunks() -> object:
            for _ in range(100):
                script.now += 1
                yield b" "

        return httpx.Response(200, content=chunks())  # type: ignore[arg-type] # a generator is an iterable of bytes

    script.answers = [drip]
    error = _error(CALLS[0], script.client())
    assert error.code is Code.PEER_UNREACHABLE
    assert "too long" in error.detail


def test_nothing_is_opened_before_the_first_call_and_after_the_last(script: Script) -> None:
    opened: list[httpx.Client] = []

    def opener(_peer: object) -> httpx.Client:
        opened.append(httpx.Client(base_url="https://bank.example", transport=httpx.MockTransport(script.answer)))
        return opened[-1]

    script.answers = [_ok(ANSWER), _ok(ANSWER), _ok(ANSWER)]
    client = PeerClient(PEER, open_http=opener)
    client.close()
    assert opened == []
    client.request(WANTED)
    client.request(WANTED)
    client.close()
    assert [http.is_closed for http in opened] == [True]
    client.request(WANTED)
    assert len(opened) == 2
    client.close()


def test_files_that_are_not_there_are_named() -> None:
    with pytest.raises(KmsError) as caught:
        open_http(PEER)
    assert caught.value.code is Code.CONFIG_INVALID
    assert [fault.where for fault in caught.value.faults] == ["peers.bank.ca"]


def test_no_error_and_no_repr_shows_an_apdu(script: Script) -> None:
    script.answers = [httpx.ReadError("x")] * ATTEMPTS
    client = script.client()
    error = _error(CALLS[1], client)
    assert "6F00" not in f"{error!r} {error.__cause__!r} {client!r}"
