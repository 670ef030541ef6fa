import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.keys import KcvMethod, KeyType
from kms.domain.cards import Card
from kms.domain.hand_over import MAX_PAYLOAD, build_payload, check_hand_over, parse_payload
from kms.domain.transfers import HandOver, Transfer, TransferReason, TransferSide, TransferState
from kms.errors import Code, KmsError
from tests.fakes.records import build_card

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEK_KCV = bytes.fromhex("0102030405")
TRANSFER = Transfer(
    id="0f96af97-f879-45a2-a011-ee7439df3804",
    side=TransferSide.PROVIDER,
    peer="bank",
    reason=TransferReason.CREATE,
    card_identity=bytes.fromhex("4712345678901F"),
    aid=bytes.fromhex("A0000009520001"),
    privileges=b"\x80",
    key_type=KeyType.DES2,
    state=TransferState.PROVED,
    requested_at=AT,
)
GOOD = HandOver(
    transfer_id=TRANSFER.id,
    issuer="bank",
    provider="bikes",
    card_identity=TRANSFER.card_identity,
    kdd=bytes(range(10)),
    aid=TRANSFER.aid,
    scp=2,
    scp_i=0x55,
    kvn=0x20,
    generation=0,
    key_type=KeyType.DES2,
    kcvs=(b"\xaa\xbb\x01", b"\xaa\xbb\x02", b"\xaa\xbb\x03"),
    kcv_method=KcvMethod.DES_ZERO,
    kek_kcv=KEK_KCV,
    issued_at=AT,
    expires_at=AT + timedelta(hours=1),
    wrapped=(b"\x01" * 24, b"\x02" * 24, b"\x03" * 24),
)
# docs/hand-over.md shows these bytes; whoever writes the other side compares with them.
WRITTEN = (
    '{"aid":"A0000009520001","card_identity":"4712345678901F","expires_at":"2026-03-01T13:00:00Z","generation":0,'
    '"issued_at":"2026-03-01T12:00:00Z","issuer":"bank","kcv_method":"3des-ecb-zero","kdd":"00010203040506070809",'
    '"kek_kcv":"0102030405","key_type":"DES2","keys":['
    f'{{"kcv":"AABB01","role":"ENC","wrapped":"{"01" * 24}"}},'
    f'{{"kcv":"AABB02","role":"MAC","wrapped":"{"02" * 24}"}},'
    f'{{"kcv":"AABB03","role":"DEK","wrapped":"{"03" * 24}"}}],'
    '"kvn":32,"provider":"bikes","scp":2,"scp_i":85,"transfer_id":"0f96af97-f879-45a2-a011-ee7439df3804",'
    '"type":"kms-hand-over","version":1}'
).encode()


def _refusal(payload: bytes) -> KmsError:
    with pytest.raises(KmsError) as caught:
        parse_payload(payload)
    return caught.value


def test_the_bytes_are_as_written_down() -> None:
    assert build_payload(GOOD) == WRITTEN
    assert parse_payload(WRITTEN) == GOOD


def test_the_document_shows_the_same_bytes() -> None:
    text = (Path(__file__).parents[3] / "docs" / "hand-over.md").read_text()
    example = text.split("```")[1].strip()
    assert example.replace("\n", "").encode() == WRITTEN
    assert f"`{hashlib.sha256(WRITTEN).hexdigest()}`" in text
    assert f"{len(WRITTEN)} bytes" in text


def test_times_are_utc_and_whole_seconds() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5))) + timedelta(milliseconds=999)
    assert build_payload(replace(GOOD, issued_at=elsewhere)) == WRITTEN


def test_a_payload_of_too_few_keys_is_not_built() -> None:
    with pytest.raises(ValueError, match="zip"):
        build_payload(replace(GOOD, wrapped=GOOD.wrapped[:2]))


names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 (the zone is given below)
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)


@st.composite
def hand_overs(draw: st.DrawFn) -> HandOver:
    key_type = draw(st.sampled_from(KeyType))
    return HandOver(
        transfer_id=str(draw(st.uuids())),
        issuer=draw(names),
        provider=draw(names),
        card_identity=draw(st.binary(min_size=1, max_size=32)),
        kdd=draw(st.binary(min_size=10, max_size=10)),
        aid=draw(st.binary(min_size=5, max_size=16)),
        scp=draw(st.sampled_from((2, 3))),
        scp_i=draw(st.integers(0, 255)),
        kvn=draw(st.integers(1, 127)),
        generation=draw(st.integers(0, 0xFFFFFFFF)),
        key_type=key_type,
        kcvs=tuple(draw(st.binary(min_size=3, max_size=3)) for _ in range(3)),
        kcv_method=draw(st.sampled_from(KcvMethod)),
        kek_kcv=draw(st.binary(min_size=5, max_size=5)),
        issued_at=draw(times),
        expires_at=draw(times),
        wrapped=tuple(draw(st.binary(min_size=24, max_size=40)) for _ in range(3)),
    )


@given(hand_overs())
def test_what_is_built_is_read_again_and_is_ascii_json(hand_over: HandOver) -> None:
    payload = build_payload(hand_over)
    assert parse_payload(payload) == hand_over
    assert len(payload) <= MAX_PAYLOAD
    assert list(json.loads(payload.decode("ascii"))) == sorted(json.loads(payload))


@given(st.integers(0, len(WRITTEN) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_the_meaning(place: int, difference: int) -> None:
    changed = bytearray(WRITTEN)
    changed[place] ^= difference
    try:
        found = parse_payload(bytes(changed))
    except KmsError as error:
        assert error.code in {Code.ENVELOPE_MALFORMED, Code.ENVELOPE_KEYS}  # noqa: PT017 (either way is right)
    else:
        assert found != GOOD
        assert build_payload(found) == changed


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_anything_else_is_refused(payload: bytes) -> None:
    assert _refusal(payload).code is Code.ENVELOPE_MALFORMED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(json.loads(WRITTEN))), json_values)
def test_a_field_of_any_other_kind_is_refused_or_read_as_it_stands(name: str, value: Any) -> None:  # noqa: ANN401 (JSON)
    payload = _write({**json.loads(WRITTEN), name: value})
    try:
        assert build_payload(parse_payload(payload)) == payload
    except KmsError as error:
        assert error.code in {Code.ENVELOPE_MALFORMED, Code.ENVELOPE_KEYS}  # noqa: PT017 (either way is right)


def _write(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"aid":"A0000009520001",', b'"aid":"A0000009520001","aid":"A0000009520001",'),  # a duplicate key
        (b'"aid":"A0000009520001",', b'"aid":"A0000009520002","aid":"A0000009520001",'),
        (b'"aid":"A0000009520001",', b'"aid":"A0000009520001","colour":"blue",'),
        (b'"aid":"A0000009520001",', b""),
        (b'"aid":"A0000009520001"', b'"aid":"a0000009520001"'),  # lower-case hex
        (b'"aid":"A0000009520001"', b'"aid":"A000000952 0001"'),
        (b'"aid":"A0000009520001"', b'"aid":"A0000009"'),  # too short
        (b'"aid":"A0000009520001"', b'"aid": "A0000009520001"'),  # white space
        (b'"generation":0', b'"generation":-1'),
        (b'"generation":0', b'"generation":00'),
        (b'"generation":0', b'"generation":0.0'),
        (b'"generation":0', b'"generation":false'),
        (b'"generation":0', b'"generation":"0"'),
        (b'"generation":0', b'"generation":4294967296'),
        (b'"generation":0', b'"generation":NaN'),
        (b'"kvn":32', b'"kvn":0'),
        (b'"kvn":32', b'"kvn":128'),
        (b'"scp":2', b'"scp":1'),
        (b'"issuer":"bank"', b'"issuer":"\\u0062ank"'),  # another spelling of the same text
        (b'"issuer":"bank"', b'"issuer":null'),
        (b"12:00:00Z", b"12:00:00+00:00"),
        (b"12:00:00Z", b"12:00:60Z"),
        (b"2026-03-01T12", b"2026-3-01T12"),
        (b'"DES2"', b'"DES4"'),
        (b'"DES2"', b'["DES2"]'),
        (b'"3des-ecb-zero"', b'"md5"'),
        (b'"kms-hand-over"', b'"kms-audit"'),
        (b'"version":1', b'"version":2'),
        (b'"version":1', b'"version":true'),
        (b'"role":"ENC",', b'"role":"ENC","role":"ENC",'),
        (b'"kcv":"AABB01"', b'"kcv":7'),
        (b"}", b"}\n"),
    ],
)
def test_what_is_not_canonical_is_refused(old: bytes, new: bytes) -> None:
    assert old in WRITTEN
    error = _refusal(WRITTEN.replace(old, new, 1))
    assert error.code is Code.ENVELOPE_MALFORMED
    assert "A000" not in error.detail


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", WRITTEN + b" ", b"[" * 4000, b" " * (MAX_PAYLOAD + 1)])
def test_what_is_no_payload_at_all_is_refused(payload: bytes) -> None:
    assert _refusal(payload).code is Code.ENVELOPE_MALFORMED


def test_keys_of_other_roles_or_numbers_are_refused_by_name() -> None:
    fields = json.loads(WRITTEN)
    first, second, third = fields["keys"]
    for keys in ([], [first, second], [second, first, third], [first, second, third, third]):
        assert _refusal(_write({**fields, "keys": keys})).code is Code.ENVELOPE_KEYS


BOTH = build_card(scp02_i=0x55, scp03_i=0x70)
UNKNOWN = build_card(scp02_i=None, scp03_i=None)


def _check(
    hand_over: HandOver,
    now: datetime = AT + timedelta(minutes=1),
    expected: Transfer = TRANSFER,
    card: Card = BOTH,
) -> None:
    check_hand_over(hand_over, expected=expected, card=card, own_name="bikes", now=now, kek_kcv=KEK_KCV)


WANTS_AES = replace(TRANSFER, key_type=KeyType.AES256)
AES = replace(
    GOOD,
    scp=3,
    scp_i=0x70,
    key_type=KeyType.AES256,
    kcv_method=KcvMethod.AES_GP,
    wrapped=tuple(bytes(40) for _ in range(3)),
)


def test_the_hand_over_that_is_waited_for_passes() -> None:
    _check(GOOD)
    _check(AES, expected=WANTS_AES)
    _check(GOOD, expected=WANTS_AES, card=build_card(scp02_i=0x55))  # AES where the card can, which this one cannot
    _check(AES, expected=WANTS_AES, card=UNKNOWN)
    _check(GOOD, expected=WANTS_AES, card=UNKNOWN)
    _check(GOOD, now=AT - timedelta(minutes=5))  # the issuer's clock may lead a little
    _check(GOOD, now=GOOD.expires_at - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("hand_over", "card"),
    [
        (GOOD, BOTH),  # triple DES where AES was asked for and the card speaks both
        (replace(AES, key_type=KeyType.AES128), BOTH),
        (AES, build_card(scp02_i=0x55)),
        (AES, build_card(scp02_i=0x55, scp03_i=0x60)),
        (replace(AES, scp_i=0x55), UNKNOWN),  # no option of SCP03
        (replace(GOOD, scp_i=0x70), UNKNOWN),
        (replace(GOOD, key_type=KeyType.DES3), UNKNOWN),
    ],
)
def test_a_weaker_type_or_another_protocol_than_the_cards_is_refused(hand_over: HandOver, card: Card) -> None:
    with pytest.raises(KmsError) as caught:
        _check(hand_over, expected=WANTS_AES, card=card)
    assert caught.value.code is Code.ENVELOPE_KEY_TYPE


VIOLATIONS: list[tuple[Code, Callable[[HandOver], HandOver]]] = [
    (Code.ENVELOPE_RECIPIENT, lambda good: replace(good, provider="boats")),
    (Code.ENVELOPE_ISSUER, lambda good: replace(good, issuer="other")),
    (Code.ENVELOPE_TRANSFER, lambda good: replace(good, transfer_id="1f96af97-f879-45a2-a011-ee7439df3804")),
    (Code.ENVELOPE_CARD, lambda good: replace(good, card_identity=b"\x47")),
    (Code.ENVELOPE_DOMAIN, lambda good: replace(good, aid=b"\xa0\x00\x00\x09\x52\x00\x02")),
    (Code.ENVELOPE_PERIOD, lambda good: replace(good, expires_at=good.issued_at)),
    (Code.ENVELOPE_PERIOD, lambda good: replace(good, expires_at=good.issued_at + timedelta(days=1, seconds=1))),
    (Code.ENVELOPE_KEY_TYPE, lambda good: replace(good, key_type=KeyType.DES3)),
    (Code.ENVELOPE_KEY_TYPE, lambda good: replace(good, scp=3)),
    (Code.ENVELOPE_KEK, lambda good: replace(good, kek_kcv=bytes(5))),
    (Code.ENVELOPE_KEK, lambda good: replace(good, kek_kcv=KEK_KCV[:3])),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, kcvs=good.kcvs[:2])),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, wrapped=good.wrapped[:2])),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, wrapped=(*good.wrapped, good.wrapped[0]))),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, wrapped=(*good.wrapped[:2], bytes(32)))),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, kcvs=(*good.kcvs[:2], bytes(5)))),
    (Code.ENVELOPE_KEYS, lambda good: replace(good, kcv_method=KcvMethod.AES_GP)),
]


@pytest.mark.parametrize(("code", "spoil"), VIOLATIONS)
def test_each_violation_has_its_name(code: Code, spoil: Callable[[HandOver], HandOver]) -> None:
    with pytest.raises(KmsError) as caught:
        _check(spoil(GOOD))
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (AT - timedelta(minutes=5, seconds=1), Code.ENVELOPE_EARLY),
        (AT + timedelta(hours=1), Code.ENVELOPE_EXPIRED),
        (AT + timedelta(days=300), Code.ENVELOPE_EXPIRED),
    ],
)
def test_a_hand_over_holds_in_its_time_only(now: datetime, code: Code) -> None:
    with pytest.raises(KmsError) as caught:
        _check(GOOD, now=now)
    assert caught.value.code is code


def test_no_repr_shows_wrapped_keys() -> None:
    assert (b"\x01" * 24).hex() not in repr(GOOD)
    assert "\\x01\\x01\\x01" not in repr(GOOD)
