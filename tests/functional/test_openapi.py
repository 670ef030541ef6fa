"""The OpenAPI text is true: every documented request is sent, every answer is checked against the text."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest
from flask.testing import FlaskClient

from kms.api import create_api
from kms.api.services import PeerAccess
from kms.domain.pending import PendingCursor, build_cursor
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.web.problems import STATUS
from tests.fakes.api_platform import APPLICATION, AT, CARD, CERTIFICATE, QUARANTINED, FakePlatform
from tests.fakes.api_transfers import FakeTransfers

PEER_CERTIFICATE = b"the certificate of bikes"
GOOD: dict[str, Any] = {"card": {"identity": CARD.hex()}, "application": APPLICATION.hex()}
APPLY = ("post", "/api/v1/applications")
PENDING = ("get", "/api/v1/pending")
CURSOR = build_cursor(PendingCursor(AT, "0" * 35 + "1"))
READY = ("get", "/readyz")
TRANSFER_ID = "0f96af97-f879-45a2-a011-ee7439df3804"
UNKNOWN_ID = "1f96af97-f879-45a2-a011-ee7439df3804"
TRANSFER: dict[str, Any] = {
    "transferId": TRANSFER_ID,
    "reason": "create",
    "cardIdentity": CARD.hex(),
    "aid": "A0000009520001",
    "privileges": "80",
    "keyType": "DES2",
}
REPORT: dict[str, Any] = {"answersOrder": None, "status": "POLLING", "responses": []}
ONE = "/peer/v1/transfers/{transfer_id}"
REQUEST, SHOW = ("post", "/peer/v1/transfers"), ("get", ONE)
RELAY, HAND_OVER, ACCEPT = ("post", f"{ONE}/report"), ("post", f"{ONE}/hand-over"), ("post", f"{ONE}/control-accepted")


def _nothing(_platform: FakePlatform) -> None:
    return


def _forget_terminal(platform: FakePlatform) -> None:
    platform.terminals.known.clear()


def _revoke_terminal(platform: FakePlatform) -> None:
    platform.terminals.known[hashlib.sha256(CERTIFICATE).digest()] = TerminalState.REVOKED


def _fail(code: Code) -> Callable[[FakePlatform], None]:
    def fail(platform: FakePlatform) -> None:
        platform.terminals.failure = KmsError(code, "It is as it is")

    return fail


def _break_vault(platform: FakePlatform) -> None:
    platform.vault.failure = KmsError(Code.HSM_UNAVAILABLE, "The token is away")


def _break_store(platform: FakePlatform) -> None:
    platform.store.failure = RuntimeError("nobody foresaw this")


@dataclass
class Site:
    """What answers: the platform with transfers of `bikes`, one of them on its way; `is_peer`: whether it calls."""

    platform: FakePlatform = field(default_factory=FakePlatform)
    transfers: FakeTransfers = field(default_factory=FakeTransfers)
    is_peer: bool = True

    def client(self) -> FlaskClient:
        names = {hashlib.sha256(PEER_CERTIFICATE).digest(): "bikes"} if self.is_peer else {}
        access = PeerAccess(names, self.transfers)

        def show(environ: dict[str, Any]) -> bytes:
            return PEER_CERTIFICATE if environ["PATH_INFO"].startswith("/peer/") else CERTIFICATE

        return create_api(self.platform, show, access).test_client()

    def prove(self) -> None:
        """Take the transfer to where its initial keys are proved."""
        client = self.client()
        client.post("/peer/v1/transfers", json=TRANSFER)
        for number in (None, 1, 2):
            client.post(f"/peer/v1/transfers/{TRANSFER_ID}/report", json={**REPORT, "answersOrder": number})


def _forget_peer(site: Site) -> None:
    site.is_peer = False


def _ask(site: Site) -> None:
    site.client().post("/peer/v1/transfers", json=TRANSFER)


def _hand_over(site: Site) -> None:
    site.prove()
    site.client().post(f"/peer/v1/transfers/{TRANSFER_ID}/hand-over", json={})


def _fail_line(code: Code) -> Callable[[Site], None]:
    def fail(site: Site) -> None:
        site.transfers.failure = KmsError(code, "It is as it is")

    return fail


@dataclass(frozen=True)
class Exchange:
    """One documented request and the answer's status; `code`: of a problem."""

    operation: tuple[str, str]
    status: int
    code: str | None = None
    body: object = None
    query: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[FakePlatform], None] = _nothing
    content_type: str = "application/json"
    prepare_line: Callable[[Site], None] = _ask
    transfer_id: str = TRANSFER_ID


def _on_both(status: int, code: Code, prepare: Callable[[FakePlatform], None]) -> list[Exchange]:
    return [Exchange(APPLY, status, code, GOOD, prepare=prepare), Exchange(PENDING, status, code, prepare=prepare)]


def _on_line(body: object, operation: tuple[str, str], *codes: Code) -> list[Exchange]:
    """What every address of the leased line may answer, and `codes`, which its service may raise."""
    always = [Exchange(operation, 403, Code.PEER_UNKNOWN, body, prepare_line=_forget_peer)]
    if operation[0] == "post":
        always += [
            Exchange(operation, 400, Code.INPUT_INVALID, {"colour": 1}),
            Exchange(operation, 413, Code.BODY_TOO_LARGE, "x" * 70_000),
            Exchange(operation, 415, Code.MEDIA_TYPE, body, content_type="text/plain"),
        ]
    raised = (Code.DATABASE_UNAVAILABLE, Code.INTERNAL, *codes)
    return [
        *always,
        *(Exchange(operation, STATUS[code], code, body, prepare_line=_fail_line(code)) for code in raised),
    ]


LINE = [
    Exchange(REQUEST, 201, body=TRANSFER),
    Exchange(REQUEST, 403, Code.PEER_NOT_ALLOWED, {**TRANSFER, "aid": "A0000009510001"}),
    Exchange(REQUEST, 404, Code.CARD_UNKNOWN, {**TRANSFER, "cardIdentity": "01"}),
    Exchange(REQUEST, 403, Code.CARD_QUARANTINED, {**TRANSFER, "cardIdentity": QUARANTINED.hex()}),
    Exchange(REQUEST, 409, Code.TRANSFER_CONFLICT, {**TRANSFER, "keyType": "AES128"}),
    *_on_line(TRANSFER, REQUEST, Code.PEER_QUOTA, Code.TRANSFER_REFUSED, Code.TRANSFER_UNKNOWN, Code.VISIT_CONFLICT),
    Exchange(SHOW, 200),
    Exchange(SHOW, 404, Code.TRANSFER_UNKNOWN, transfer_id=UNKNOWN_ID),
    *_on_line(None, SHOW),
    Exchange(RELAY, 200, body=REPORT),
    Exchange(RELAY, 404, Code.TRANSFER_UNKNOWN, REPORT, transfer_id=UNKNOWN_ID),
    *_on_line(
        REPORT,
        RELAY,
        Code.TRANSFER_STATE,
        Code.VISIT_CONFLICT,
        Code.SESSION_UNKNOWN,
        Code.CARD_UNKNOWN,
        Code.CARD_QUARANTINED,
        Code.TERMINAL_REFUSED,
        Code.HSM_UNAVAILABLE,
    ),
    Exchange(HAND_OVER, 200, body={}, prepare_line=Site.prove),
    Exchange(HAND_OVER, 404, Code.TRANSFER_UNKNOWN, {}, transfer_id=UNKNOWN_ID),
    Exchange(HAND_OVER, 409, Code.TRANSFER_STATE, {}),
    *_on_line(
        {},
        HAND_OVER,
        Code.CARD_UNKNOWN,
        Code.CARD_QUARANTINED,
        Code.HSM_UNAVAILABLE,
        Code.KEY_MISSING,
        Code.KEY_KCV_MISMATCH,
    ),
    Exchange(ACCEPT, 200, body={}, prepare_line=_hand_over),
    Exchange(ACCEPT, 404, Code.TRANSFER_UNKNOWN, {}, transfer_id=UNKNOWN_ID),
    Exchange(ACCEPT, 409, Code.TRANSFER_STATE, {}),
    *_on_line({}, ACCEPT, Code.VISIT_CONFLICT),
]

EXCHANGES = [
    Exchange(("get", "/healthz"), 200),
    Exchange(READY, 200),
    Exchange(READY, 503, Code.NOT_READY, prepare=_break_vault),
    Exchange(APPLY, 201, body=GOOD),
    Exchange(APPLY, 400, Code.INPUT_INVALID, {**GOOD, "application": "A0"}),
    Exchange(APPLY, 400, Code.INPUT_INVALID, []),
    Exchange(APPLY, 404, Code.CARD_UNKNOWN, {**GOOD, "card": {"identity": "01"}}),
    Exchange(APPLY, 404, Code.NOT_FOUND, {**GOOD, "application": "A0" * 16}),
    Exchange(APPLY, 403, Code.CARD_QUARANTINED, {**GOOD, "card": {"identity": QUARANTINED.hex()}}),
    *(
        Exchange(APPLY, STATUS[code], code, GOOD, prepare=_fail(code))
        for code in (
            Code.CONFLICT,
            Code.VISIT_CONFLICT,
            Code.PEER_REFUSED,
            Code.PEER_UNREACHABLE,
            Code.PEER_UNTRUSTED,
            Code.PEER_PROTOCOL,
            Code.CONFIG_INVALID,
        )
    ),
    Exchange(APPLY, 413, Code.BODY_TOO_LARGE, "x" * 70_000),
    Exchange(APPLY, 415, Code.MEDIA_TYPE, GOOD, content_type="text/plain"),
    Exchange(PENDING, 200),
    Exchange(PENDING, 200, query={"limit": "1", "cursor": CURSOR}),
    Exchange(PENDING, 200, query={"aid": "A0000009510001", "reason": "expiry", "dueBefore": "2026-03-01T12:00:00Z"}),
    Exchange(PENDING, 400, Code.INPUT_INVALID, query={"cursor": "none-of-ours"}),
    *_on_both(403, Code.TERMINAL_NOT_ALLOWED, _fail(Code.TERMINAL_NOT_ALLOWED)),
    Exchange(PENDING, 200, query={"card": "4701"}),
    Exchange(PENDING, 400, Code.INPUT_INVALID, query={"limit": "0"}),
    Exchange(PENDING, 404, Code.CARD_UNKNOWN, query={"card": "01"}, prepare=_fail(Code.CARD_UNKNOWN)),
    Exchange(PENDING, 403, Code.CARD_QUARANTINED, query={"card": "47"}, prepare=_fail(Code.CARD_QUARANTINED)),
    *_on_both(403, Code.TERMINAL_UNKNOWN, _forget_terminal),
    *_on_both(403, Code.TERMINAL_REFUSED, _revoke_terminal),
    *_on_both(503, Code.DATABASE_UNAVAILABLE, _fail(Code.DATABASE_UNAVAILABLE)),
    *_on_both(500, Code.INTERNAL, _fail(Code.INTERNAL)),
    Exchange(READY, 500, Code.INTERNAL, prepare=_break_store),
    *LINE,
]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    found = json.loads(Site().client().get("/openapi.json").text)
    assert isinstance(found, dict)
    return found


def _check(spec: dict[str, Any], schema: dict[str, Any], instance: object) -> None:
    """Validate against a schema of the text, whose references point into the whole of it."""
    whole = {**schema, "components": spec["components"]}
    jsonschema.validate(instance, whole, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one.operation[1]}-{one.status}-{one.code}")
def test_every_answer_is_as_documented(spec: dict[str, Any], exchange: Exchange) -> None:
    method, path = exchange.operation
    operation = spec["paths"][path][method]
    site = Site()
    exchange.prepare(site.platform)
    exchange.prepare_line(site)
    answer = site.client().open(
        path.replace("{transfer_id}", exchange.transfer_id),
        method=method.upper(),
        query_string=exchange.query,
        data=json.dumps(exchange.body) if method == "post" else None,
        content_type=exchange.content_type if method == "post" else None,
    )
    assert answer.status_code == exchange.status
    documented = operation["responses"][str(exchange.status)]["content"]
    assert answer.mimetype in documented
    _check(spec, documented[answer.mimetype]["schema"], json.loads(answer.text))
    if exchange.code:
        assert json.loads(answer.text)["code"] == exchange.code
        assert exchange.code in operation["x-problem-codes"]
    if exchange.code is None and method == "post":
        _check(spec, operation["requestBody"]["content"]["application/json"]["schema"], exchange.body)


def test_every_documented_answer_is_asked_for(spec: dict[str, Any]) -> None:
    documented = {
        ((method, path), code)
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        for code in operation["x-problem-codes"]
    }
    assert documented == {(one.operation, one.code) for one in EXCHANGES if one.code}
    statuses = {
        ((method, path), int(status))
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
    }
    assert statuses == {(one.operation, one.status) for one in EXCHANGES}


def test_every_documented_parameter_is_used(spec: dict[str, Any]) -> None:
    parameters = {item["name"] for item in spec["paths"]["/api/v1/pending"]["get"]["parameters"]}
    assert parameters == {name for one in EXCHANGES if one.operation == PENDING for name in one.query}


def test_the_text_is_an_openapi_3_1_document_without_loose_ends(spec: dict[str, Any]) -> None:
    assert spec["openapi"] == "3.1.0"
    schemas = spec["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = {part.split('"')[0] for part in json.dumps(spec).split('"#/components/schemas/')[1:]}
    assert references <= schemas.keys()
