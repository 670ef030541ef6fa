from flask.testing import FlaskClient


def test_no_answer_may_be_kept_by_a_cache(client: FlaskClient) -> None:
    for address in ("/healthz", "/api/v1/pending", "/nowhere"):
        assert client.get(address).headers["Cache-Control"] == "no-store"


def test_there_are_no_documentation_pages(client: FlaskClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").status_code == 200
