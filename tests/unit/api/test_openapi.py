from flask.testing import FlaskClient

from kms.api.openapi import may_answer
from kms.errors import Code
from tests.unit.api.conftest import read_body


def test_an_operation_names_its_problems() -> None:
    assert may_answer(Code.NOT_FOUND) == {"x-problem-codes": ["input.not-found"]}


def test_the_text_lists_our_addresses_and_leaves_seram_to_its_own(client: FlaskClient) -> None:
    spec = read_body(client.get("/openapi.json"))
    assert set(spec["paths"]) == {"/healthz", "/readyz", "/api/v1/applications", "/api/v1/pending"}


def test_problems_of_one_status_are_described_together(client: FlaskClient) -> None:
    spec = read_body(client.get("/openapi.json"))
    answer = spec["paths"]["/api/v1/applications"]["post"]["responses"]["404"]
    assert answer["description"] == "Problem: card.unknown, input.not-found"
    assert answer["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
