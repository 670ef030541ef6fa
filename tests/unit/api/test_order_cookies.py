import pytest
from flask import Response
from hypothesis import given
from hypothesis import strategies as st

from kms.api.order_cookies import parse_order_number, set_order_cookies
from tests.fakes.api_platform import SESSION

OTHER = "11111111-f879-45a2-a011-ee7439df3804"


def _cookies(session_id: str, number: int) -> dict[str, str]:
    """What an agent keeps of an answer."""
    answer = Response()
    set_order_cookies(answer, "/gp/seram", session_id, number)
    pairs = (line.split(";")[0].split("=") for line in answer.headers.getlist("Set-Cookie"))
    return {name: value for name, value in pairs}  # noqa: C416 (dict() of split lists does not type)


@given(st.integers(0, 999_999_999))
def test_the_number_comes_back(number: int) -> None:
    assert parse_order_number(_cookies(SESSION, number), SESSION) == number


def test_the_number_alone_is_enough() -> None:
    assert parse_order_number({"kms-order": "2"}, SESSION) == 2


def test_another_visit_s_number_counts_as_none() -> None:
    assert parse_order_number(_cookies(OTHER, 2), SESSION) is None


@given(st.text(max_size=12))
def test_a_cookie_is_a_number_or_nothing(text: str) -> None:
    number = parse_order_number({"kms-order": text}, SESSION)
    assert number is None or (text.isascii() and int(text) == number)


@pytest.mark.parametrize("text", ["", "1a", "-1", " 1", "1" * 10, "\u0661", "1\n"])
def test_a_malformed_number_counts_as_none(text: str) -> None:
    assert parse_order_number({"kms-order": text}, SESSION) is None


def test_without_cookies_there_is_no_number() -> None:
    assert parse_order_number({}, SESSION) is None


def test_cookies_stay_on_this_path_and_out_of_scripts() -> None:
    answer = Response()
    set_order_cookies(answer, "/gp/seram", SESSION, 1)
    lines = answer.headers.getlist("Set-Cookie")
    assert len(lines) == 2
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/gp/seram"):
        assert all(attribute in line for line in lines)
    assert SESSION not in " ".join(lines)
