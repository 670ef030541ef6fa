import json

import pytest

from kms.console.admin_messages import ApproveMessage, LoginMessage, build_request, read_message
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from tests.fakes.acting_people import Office
from tests.fakes.principals import ALICE

LOGIN = {"login": "alice", "password": "seven brown horses", "totp": "123456"}


def test_a_login_is_read_and_its_secrets_do_not_show() -> None:
    given = read_message(LoginMessage, json.dumps(LOGIN).encode())
    assert given.login == "alice"
    assert "horses" not in repr(given)
    assert "123456" not in repr(given)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"totp": "12345"}, "body.totp"),
        ({"totp": 123456}, "body.totp"),
        ({"password": ""}, "body.password"),
        ({"more": "x"}, "body.more"),
    ],
)
def test_another_form_is_refused_with_its_field_and_no_value(change: dict[str, object], where: str) -> None:
    with pytest.raises(KmsError) as error:
        read_message(LoginMessage, json.dumps({**LOGIN, **change}).encode())
    assert error.value.code is Code.INPUT_INVALID
    assert [fault.where for fault in error.value.faults] == [where]
    assert error.value.__cause__ is None
    assert "horses" not in str(error.value.faults)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(KmsError):
        read_message(LoginMessage, body)


def test_a_digest_has_32_bytes() -> None:
    body = {"digest": "AB" * 32, "totp": "123456"}
    assert read_message(ApproveMessage, json.dumps(body).encode()).digest == b"\xab" * 32
    with pytest.raises(KmsError):
        read_message(ApproveMessage, json.dumps({**body, "digest": "AB" * 31}).encode())


def test_a_request_says_its_words_its_parameters_and_who_may_approve() -> None:
    request = Office().actions.submit(ALICE, Action.KEYS_GENERATE, {"kind": "ssd", "name": "ssd"}).request
    assert request is not None
    shown = build_request(request)
    assert shown["digest"] == request.digest.hex().upper()
    assert shown["may_approve"] == ["security-officer"]
    parameters = shown["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["name"] == "ssd"
    assert shown["decisions"] == []
