import httpx
import pytest

from kms.cli.admin_client import AdminClient, open_http
from kms.errors import Code, KmsError


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception) -> list[httpx.Request]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr("kms.cli.admin_client.open_http", lambda _ca: httpx.Client(transport=transport))
    return seen


def test_the_secret_goes_in_a_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = answer_with(monkeypatch, httpx.Response(200, json={"name": "alice"}))
    assert AdminClient("https://console.example/", "", "the-secret").get("/whoami", all=1) == {"name": "alice"}
    (request,) = seen
    assert str(request.url) == "https://console.example/admin/v1/whoami?all=1"
    assert request.headers["Authorization"] == "Bearer the-secret"


def test_an_error_keeps_its_code_words_and_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"code": "input.invalid", "detail": "Mend it.", "faults": [{"where": "name", "what": "is missing"}]}
    answer_with(monkeypatch, httpx.Response(400, json=problem))
    with pytest.raises(KmsError) as error:
        AdminClient("https://console.example", "").post("/actions/x", {})
    assert (error.value.code, error.value.detail) == (Code.INPUT_INVALID, "Mend it.")
    assert [(fault.where, fault.what) for fault in error.value.faults] == [("name", "is missing")]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="Bad Gateway"),
        httpx.Response(200, text="<html>"),
        httpx.Response(400, json={"code": "no.such-code", "detail": ""}),
        httpx.Response(400, json=[]),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
    ],
)
def test_whatever_is_no_answer_of_ours_says_so(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | Exception
) -> None:
    answer_with(monkeypatch, answer)
    with pytest.raises(KmsError) as error:
        AdminClient("https://console.example", "").get("/whoami")
    assert error.value.code is Code.CONSOLE_UNREACHABLE


def test_a_file_that_is_no_authority_is_told() -> None:
    with pytest.raises(KmsError) as error:
        open_http("/nowhere.pem")
    assert error.value.code is Code.CONSOLE_UNREACHABLE
