import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kms.domain.key_exchange import (
    MAX_TEXT,
    Answer,
    Offer,
    build_signed_bytes,
    build_text,
    check_fingerprint,
    check_parties,
    compute_fingerprint,
    format_fingerprint,
    parse_answer,
    parse_offer,
)
from kms.errors import Code, KmsError
from tests.fakes.master_vault import MasterVault

VAULT = MasterVault()
SIGNING_ID = b"s" * 16
SIGNING = VAULT.generate_signing_key(SIGNING_ID, "signing")
TRANSPORT = VAULT.generate_transport_key(b"t" * 16, "transport")
OFFER = Offer("bank", "issuer", SIGNING, TRANSPORT)
ANSWER = Answer("issuer", "bank", compute_fingerprint(OFFER), 1, b"\xa5" * 384, bytes(5), SIGNING)


def write(content: Offer | Answer) -> str:
    return build_text(content, VAULT.sign(SIGNING_ID, build_signed_bytes(content)))


def check_refused(text: str, parse: Callable[[str], object] = parse_offer) -> None:
    with pytest.raises(KmsError) as failure:
        parse(text)
    assert failure.value.code is Code.EXCHANGE_REFUSED


def test_what_was_written_is_read() -> None:
    assert parse_offer(write(OFFER)) == OFFER
    assert parse_answer(write(ANSWER)) == ANSWER


def test_the_fingerprint_is_of_all_that_is_signed_and_easy_to_read_aloud() -> None:
    assert compute_fingerprint(OFFER) == hashlib.sha256(build_signed_bytes(OFFER)).digest()
    groups = format_fingerprint(compute_fingerprint(OFFER)).split(" ")
    assert [len(group) for group in groups] == [4] * 16
    for changed in (replace(OFFER, provider="other"), replace(OFFER, transport_key=SIGNING)):
        assert compute_fingerprint(changed) != compute_fingerprint(OFFER)


def edit(**changes: Any) -> str:  # noqa: ANN401 - any field of the file
    file = json.loads(write(OFFER))
    file["content"] |= changes
    return json.dumps(file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        write(OFFER)[:-10],
        " " * MAX_TEXT + write(OFFER),
        edit(provider="mallory"),
        edit(version=2),
        edit(version="1"),
        edit(kind="kms-key-exchange-answer"),
        edit(more=1),
        edit(signing_key="no hex"),
        edit(signing_key=SIGNING.hex()),
        edit(transport_key=TRANSPORT.hex().upper() + "00"),
    ],
)
def test_a_file_that_is_not_as_written_is_refused(text: str) -> None:
    check_refused(text)


def test_a_field_left_out_or_said_twice_is_refused() -> None:
    file = json.loads(write(OFFER))
    for name in file["content"]:
        check_refused(
            json.dumps({**file, "content": {key: value for key, value in file["content"].items() if key != name}})
        )
    check_refused(json.dumps({"content": file["content"]}))


def test_an_offer_is_no_answer_and_an_answer_no_offer() -> None:
    check_refused(write(OFFER), parse_answer)
    check_refused(write(ANSWER))


@pytest.mark.parametrize("text", ["00" * 64, "00" * 63, ""])
def test_a_signature_by_nobody_is_refused(text: str) -> None:
    check_refused(json.dumps({**json.loads(write(OFFER)), "signature": text}))


def test_a_signed_offer_without_a_proper_transport_key_is_refused() -> None:
    check_refused(write(replace(OFFER, transport_key=SIGNING)))


@pytest.mark.parametrize(
    "changes", [{"kek": b"short"}, {"kcv": bytes(3)}, {"offer": bytes(31)}, {"generation": 0}, {"generation": -1}]
)
def test_a_signed_answer_of_other_sizes_is_refused(changes: dict[str, Any]) -> None:
    check_refused(write(replace(ANSWER, **changes)), parse_answer)


def test_parties_and_fingerprint_are_checked() -> None:
    check_parties(OFFER, provider="bank", issuer="issuer")
    check_fingerprint(OFFER, compute_fingerprint(OFFER))
    for provider, issuer in (("other", "issuer"), ("bank", "other"), ("issuer", "bank")):
        with pytest.raises(KmsError) as failure:
            check_parties(ANSWER, provider=provider, issuer=issuer)
        assert failure.value.code is Code.EXCHANGE_REFUSED
    with pytest.raises(KmsError) as failure:
        check_fingerprint(OFFER, bytes(32))
    assert failure.value.code is Code.EXCHANGE_FINGERPRINT


def test_no_repr_shows_the_wrapped_kek() -> None:
    assert repr(ANSWER.kek) not in repr(ANSWER)
