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
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from tests.fakes.api_platform import APPLICATION, CARD, CERTIFICATE, QUARANTINED, FakePlatform

GOOD: dict[str, Any] = {"card": {"identity": CARD.hex()}, "application": APPLICATION.hex()}
APPLY = ("post", "/api/v1/applications")
PENDING = ("get", "/api/v1/pending")
READY = ("get", "/readyz")


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


def _on_both(status: int, code: Code, prepare: Callable[[FakePlatform], None]) -> list[Exchange]:
    return [Exchange(APPLY, status, code, GOOD, prepare=prepare), Exchange(PENDING, status, code, prepare=prepare)]


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
    Exchange(APPLY, 409, Code.CONFLICT, GOOD, prepare=_fail(Code.CONFLICT)),
    Exchange(APPLY, 413, Code.BODY_TOO_LARGE, "x" * 70_000),
    Exchange(APPLY, 415, Code.MEDIA_TYPE, GOOD, content_type="text/plain"),
    Exchange(PENDING, 200),
    Exchange(PENDING, 200, query={"limit": "1", "offset": "1"}),
    Exchange(PENDING, 200, query={"card": "4701"}),
    Exchange(PENDING, 400, Code.INPUT_INVALID, query={"limit": "0"}),
    Exchange(PENDING, 404, Code.CARD_UNKNOWN, query={"card": "01"}, prepare=_fail(Code.CARD_UNKNOWN)),
    Exchange(PENDING, 403, Code.CARD_QUARANTINED, query={"card": "47"}, prepare=_fail(Code.CARD_QUARANTINED)),
    *_on_both(403, Code.TERMINAL_UNKNOWN, _forget_terminal),
    *_on_both(403, Code.TERMINAL_REFUSED, _revoke_terminal),
    *_on_both(503, Code.DATABASE_UNAVAILABLE, _fail(Code.DATABASE_UNAVAILABLE)),
    *_on_both(500, Code.INTERNAL, _fail(Code.INTERNAL)),
    Exchange(READY, 500, Code.INTERNAL, prepare=_break_store),
]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    found = json.loads(_client(FakePlatform()).get("/openapi.json").text)
    assert isinstance(found, dict)
    return found


def _client(platform: FakePlatform) -> FlaskClient:
    return create_api(platform, lambda _environ: CERTIFICATE).test_client()


def _check(spec: dict[str, Any], schema: dict[str, Any], instance: object) -> None:
    """Validate against a schema of the text, whose references point into the whole of it."""
    whole = {**schema, "components": spec["components"]}
    jsonschema.validate(instance, whole, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one.operation[1]}-{one.status}-{one.code}")
def test_every_answer_is_as_documented(spec: dict[str, Any], exchange: Exchange) -> None:
    method, path = exchange.operation
    operation = spec["paths"][path][method]
    platform = FakePlatform()
    exchange.prepare(platform)
    answer = _client(platform).open(
        path,
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
    if exchange.status == 201:
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
