import pytest
from flask.testing import FlaskClient

from kms.web.strict_json import MAX_BODY
from tests.fakes.api_platform import APPLICATION, CARD
from tests.unit.api.conftest import read_body

GOOD = f'{{"card": {{"identity": "{CARD.hex()}"}}, "application": "{APPLICATION.hex()}"}}'
ADDRESS = "/api/v1/applications"


def test_a_good_body_is_taken_in_any_charset_spelling(client: FlaskClient) -> None:
    for content_type in ("application/json", "application/json; charset=utf-8"):
        assert client.post(ADDRESS, data=GOOD, content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        GOOD[:-1] + ', "application": "A000000951000101"}',
        GOOD.replace(f'"{APPLICATION.hex()}"', "NaN"),
        "[" * 60000,
        GOOD.encode("utf-16"),
        b"\xff",
    ],
)
def test_a_body_with_no_one_meaning_is_refused(client: FlaskClient, body: str | bytes) -> None:
    answer = client.post(ADDRESS, data=body, content_type="application/json")
    assert (answer.status_code, read_body(answer)["code"]) == (400, "input.invalid")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_another_media_type_is_refused(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post(ADDRESS, data=GOOD, content_type=content_type)
    assert (answer.status_code, read_body(answer)["code"]) == (415, "http.media-type")


def test_a_body_over_the_limit_is_refused(client: FlaskClient) -> None:
    answer = client.post(ADDRESS, data=" " * (MAX_BODY - len(GOOD)) + GOOD, content_type="application/json")
    assert answer.status_code == 201
    answer = client.post(ADDRESS, data=" " * MAX_BODY + GOOD, content_type="application/json")
    assert (answer.status_code, read_body(answer)["code"]) == (413, "http.body-too-large")
