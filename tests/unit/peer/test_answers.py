import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.transfers import TransferState
from kms.errors import Code, Fault, KmsError
from kms.peer.answers import (
    clean_text,
    parse_control_accepted,
    parse_envelope,
    parse_problem,
    parse_relayed_order,
    parse_transfer_answer,
)

ANSWER: dict[str, Any] = {
    "state": "REQUESTED",
    "kdd": "AB" * 10,
    "scp02I": 85,
    "scp03I": None,
    "profile": "default",
    "refusal": "",
}
ORDER: dict[str, Any] = {"order": 1, "commands": ["00A40400"], "ended": False, "state": "REQUESTED", "text": ""}
ENVELOPE: dict[str, Any] = {
    "payload": "e30=",
    "signature": base64.b64encode(bytes(64)).decode(),
    "state": "HANDED_OVER",
}

PARSERS: list[Callable[[bytes], object]] = [
    parse_transfer_answer,
    parse_relayed_order,
    parse_envelope,
    parse_control_accepted,
]


def _write(fields: object) -> bytes:
    return json.dumps(fields).encode()


def _code(parse: Callable[[bytes], object], body: bytes) -> Code:
    with pytest.raises(KmsError) as caught:
        parse(body)
    return caught.value.code


def test_good_answers_become_values() -> None:
    answer = parse_transfer_answer(_write(ANSWER))
    assert (answer.kdd, answer.scp02_i, answer.scp03_i, answer.profile) == (b"\xab" * 10, 0x55, None, "default")
    order = parse_relayed_order(_write(ORDER))
    assert (order.number, order.commands, order.ended) == (1, (b"\x00\xa4\x04\x00",), False)
    envelope = parse_envelope(_write(ENVELOPE))
    assert (envelope.payload, envelope.signature) == (b"{}", bytes(64))
    assert parse_control_accepted(b'{"state":"CLOSED"}') is TransferState.CLOSED


@pytest.mark.parametrize(
    "change",
    [
        {"state": "DONE"},
        {"kdd": "AB" * 9},
        {"kdd": "ab" * 10},
        {"kdd": "AB" * 10 + "\n"},
        {"scp02I": "85"},
        {"scp02I": True},
        {"scp03I": -1},
        {"scp03I": 256},
        {"profile": "../../etc"},
        {"refusal": "x" * 2001},
        {"refusal": None},
        {"colour": 1},
    ],
)
def test_a_transfer_answer_of_another_form_is_refused(change: dict[str, Any]) -> None:
    assert _code(parse_transfer_answer, _write({**ANSWER, **change})) is Code.PEER_PROTOCOL


@pytest.mark.parametrize(
    "change",
    [
        {"order": -1},
        {"order": 1 << 31},
        {"order": "1"},
        {"commands": ["00A404"]},
        {"commands": ["00a40400"]},
        {"commands": ["00" * 262]},
        {"commands": ["00A40400"] * 257},
        {"commands": "00A40400"},
        {"commands": None},
        {"ended": 0},
        {"ended": "false"},
        {"state": "LOST"},
        {"text": 1},
        {"delay": 1},
    ],
)
def test_an_order_of_another_form_is_refused(change: dict[str, Any]) -> None:
    assert _code(parse_relayed_order, _write({**ORDER, **change})) is Code.PEER_PROTOCOL


@pytest.mark.parametrize(
    "change", [{"payload": "e30"}, {"payload": "e3-_"}, {"payload": "A" * 8193}, {"signature": "!"}, {"state": ""}]
)
def test_an_envelope_of_another_form_is_refused(change: dict[str, Any]) -> None:
    assert _code(parse_envelope, _write({**ENVELOPE, **change})) is Code.PEER_PROTOCOL


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"state":"CLOSED","state":"CLOSED"}', b'{"state":NaN}'],
)
def test_what_is_no_strict_json_object_is_refused(parse: Callable[[bytes], object], body: bytes) -> None:
    assert _code(parse, body) is Code.PEER_PROTOCOL


@given(st.sampled_from(PARSERS), st.binary(max_size=200))
def test_no_body_does_anything_else(parse: Callable[[bytes], object], body: bytes) -> None:
    assert _code(parse, body) is Code.PEER_PROTOCOL


def test_a_violation_names_the_field_and_not_the_value() -> None:
    with pytest.raises(KmsError, match=r"\(kdd, scp02I\)") as caught:
        parse_transfer_answer(_write({**ANSWER, "kdd": "404142434445", "scp02I": 999}))
    assert "404142" not in caught.value.detail


def test_of_a_refusal_code_and_text_are_read() -> None:
    body = _write({"code": "peer.quota", "detail": "Too many open transfers", "title": "x", "status": 429})
    assert parse_problem(body) == Fault("peer.quota", "Too many open transfers")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", _write({"code": 7, "detail": ["x"]}), _write({"code": "Drop table"})]
)
def test_any_other_refusal_is_unknown(body: bytes) -> None:
    assert parse_problem(body) == Fault("unknown", "")


def test_the_peer_s_words_are_short_and_printable() -> None:
    assert clean_text("\x1b[31mred\nline é") == "?[31mred?line ?"
    assert len(clean_text("x" * 1000)) == 200
