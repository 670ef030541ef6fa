"""The hand-over envelope's payload: canonical bytes, and the checks of whoever receives one (docs/hand-over.md).

Rules: one `HandOver` has one encoding: JSON with sorted keys, no white space, ASCII, upper-case hex, UTC seconds with
Z. What is read is encoded again and must be the same bytes, so what was signed can be read in one way only. Every
check raises a code of its own.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from kms.card.channel import OPTIONS
from kms.card.derivation import MAX_GENERATION
from kms.card.key_sets import gp_kcv_method
from kms.card.keys import KcvMethod, KeyRole, KeyType
from kms.domain.cards import SCP03, Card, choose_key_type, get_scp
from kms.domain.transfers import HandOver, Transfer
from kms.errors import Code, KmsError

TYPE = "kms-hand-over"  # what is signed can never be taken for anything else that the same key signs
VERSION = 1
MAX_PAYLOAD = 4096  # bytes; a hand-over of AES-256 keys is below 1200
MAX_CLOCK_LEAD = timedelta(minutes=5)
MAX_VALIDITY = timedelta(days=1)
ROLES = (KeyRole.ENC, KeyRole.MAC, KeyRole.DEK)
KCV_LENGTH = 3
KEK_KCV_LENGTH = 5
_WRAP_OVERHEAD = 8  # RFC 3394 section 2.2.1: one block of 64 bits more than the key

_TEXT_FIELDS = frozenset({"issuer", "provider", "transfer_id", "type"})
_HEX_FIELDS: Mapping[str, range] = {  # with lengths in bytes
    "aid": range(5, 17),
    "card_identity": range(1, 33),
    "kdd": range(10, 11),
    "kek_kcv": range(KEK_KCV_LENGTH, KEK_KCV_LENGTH + 1),
}
_NUMBER_FIELDS: Mapping[str, range] = {
    "generation": range(MAX_GENERATION + 1),
    "kvn": range(1, 0x80),  # GP Card Specification 2.3.1 section 11.8.2.3
    "scp": range(2, 4),
    "scp_i": range(0x100),
    "version": range(VERSION, VERSION + 1),
}
_TIME_FIELDS = frozenset({"expires_at", "issued_at"})
_OTHER_FIELDS = frozenset({"kcv_method", "key_type", "keys"})
_FIELDS = _TEXT_FIELDS | _HEX_FIELDS.keys() | _NUMBER_FIELDS.keys() | _TIME_FIELDS | _OTHER_FIELDS
_KEY_FIELDS = frozenset({"kcv", "role", "wrapped"})
_TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"


def build_payload(hand_over: HandOver) -> bytes:
    """Build the bytes that are signed; times are cut to seconds. Raises ValueError without three keys and KCVs."""
    keys = [
        {"kcv": _hex(kcv), "role": str(role), "wrapped": _hex(wrapped)}
        for role, kcv, wrapped in zip(ROLES, hand_over.kcvs, hand_over.wrapped, strict=True)
    ]
    fields = {
        "aid": _hex(hand_over.aid),
        "card_identity": _hex(hand_over.card_identity),
        "expires_at": _build_time(hand_over.expires_at),
        "generation": hand_over.generation,
        "issued_at": _build_time(hand_over.issued_at),
        "issuer": hand_over.issuer,
        "kcv_method": str(hand_over.kcv_method),
        "kdd": _hex(hand_over.kdd),
        "kek_kcv": _hex(hand_over.kek_kcv),
        "key_type": str(hand_over.key_type),
        "keys": keys,
        "kvn": hand_over.kvn,
        "provider": hand_over.provider,
        "scp": hand_over.scp,
        "scp_i": hand_over.scp_i,
        "transfer_id": hand_over.transfer_id,
        "type": TYPE,
        "version": VERSION,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def parse_payload(payload: bytes) -> HandOver:
    """Read a payload. Raises `transfer.envelope-malformed` for whatever `build_payload` would not have written.

    Raises `transfer.envelope-keys` when its keys are not ENC, MAC, DEK.
    """
    if len(payload) > MAX_PAYLOAD:
        raise _malformed("it is too long")
    try:
        document = json.loads(payload.decode("ascii"), parse_constant=_refuse, parse_float=_refuse)
        fields = _check_object(document, _FIELDS)
        if fields["type"] != TYPE:
            raise _malformed(f"it is no {TYPE}")
        hand_over = _parse_fields(fields)
        again = build_payload(hand_over)
    except (ValueError, TypeError, RecursionError):
        # The error's own text may show what the payload holds.
        raise _malformed("it is not canonical JSON with the documented fields") from None
    if again != payload:  # duplicate keys, white space, order, lower-case hex, escapes
        raise _malformed("its encoding is not the canonical one")
    return hand_over


def check_hand_over(
    hand_over: HandOver, *, expected: Transfer, card: Card, own_name: str, now: datetime, kek_kcv: bytes
) -> None:
    """Raise unless a hand-over, its signature checked, is the one that this provider waits for.

    `expected`, `card`: the provider's own records. `kek_kcv`: of the KEK agreed with that issuer, 5 bytes.
    Raises `transfer.envelope-`: recipient, issuer, transfer, card, domain, period, early, expired, key-type, kek, keys.
    """
    if hand_over.provider != own_name:
        raise KmsError(Code.ENVELOPE_RECIPIENT, "The hand-over is addressed to another platform")
    if hand_over.issuer != expected.peer:
        raise KmsError(Code.ENVELOPE_ISSUER, f"The hand-over is not by {expected.peer}, who was asked for it")
    if hand_over.transfer_id != expected.id:
        raise KmsError(Code.ENVELOPE_TRANSFER, "The hand-over belongs to another transfer")
    if hand_over.card_identity != expected.card_identity:
        raise KmsError(Code.ENVELOPE_CARD, "The hand-over is for another card")
    if hand_over.aid != expected.aid:
        raise KmsError(Code.ENVELOPE_DOMAIN, "The hand-over is for another security domain")
    _check_times(hand_over, now)
    _check_key_type(hand_over, expected, card)
    if hand_over.kek_kcv != kek_kcv:
        raise KmsError(Code.ENVELOPE_KEK, "The hand-over's keys are wrapped under a KEK that is not the agreed one")
    _check_keys(hand_over)


def _check_key_type(hand_over: HandOver, expected: Transfer, card: Card) -> None:
    """The keys are of the type asked for, DES2 on a card that speaks SCP02 alone, and of a protocol the card speaks."""
    if hand_over.scp_i not in OPTIONS[hand_over.scp] or hand_over.scp != get_scp(hand_over.key_type):
        raise KmsError(Code.ENVELOPE_KEY_TYPE, "The hand-over's secure channel protocol does not go with its keys")
    if card.is_known:
        if hand_over.scp_i != card.find_i(hand_over.scp):
            raise KmsError(Code.ENVELOPE_KEY_TYPE, "The hand-over's secure channel protocol is not the card's")
        wanted = choose_key_type(card, expected.key_type)
    else:  # the issuer did not know the card either when it was asked
        wanted = expected.key_type if hand_over.scp == SCP03 else KeyType.DES2
    if hand_over.key_type is not wanted:
        raise KmsError(Code.ENVELOPE_KEY_TYPE, f"The hand-over's keys are not {wanted} as asked for")


def _check_times(hand_over: HandOver, now: datetime) -> None:
    if not timedelta(0) < hand_over.expires_at - hand_over.issued_at <= MAX_VALIDITY:
        raise KmsError(Code.ENVELOPE_PERIOD, "The hand-over ends before it begins, or is valid for more than a day")
    if hand_over.issued_at > now + MAX_CLOCK_LEAD:
        raise KmsError(Code.ENVELOPE_EARLY, "The hand-over was issued in the future: set both platforms' clocks")
    if now >= hand_over.expires_at:
        raise KmsError(Code.ENVELOPE_EXPIRED, "The hand-over's time is over: ask the issuer for it again")


def _check_keys(hand_over: HandOver) -> None:
    wrapped_length = hand_over.key_type.length + _WRAP_OVERHEAD
    if (
        [len(kcv) for kcv in hand_over.kcvs] != [KCV_LENGTH] * len(ROLES)
        or [len(wrapped) for wrapped in hand_over.wrapped] != [wrapped_length] * len(ROLES)
        or hand_over.kcv_method is not gp_kcv_method(hand_over.key_type)
    ):
        raise KmsError(Code.ENVELOPE_KEYS, "The hand-over has not three keys of its type, with their check values")


def _parse_fields(fields: Mapping[str, Any]) -> HandOver:
    values: dict[str, Any] = {name: _parse_text(fields[name]) for name in _TEXT_FIELDS}
    values |= {name: _parse_hex(fields[name], lengths) for name, lengths in _HEX_FIELDS.items()}
    values |= {name: _parse_number(fields[name], allowed) for name, allowed in _NUMBER_FIELDS.items()}
    values |= {name: _parse_time(fields[name]) for name in _TIME_FIELDS}
    keys = _parse_keys(fields["keys"])
    del values["type"], values["version"]
    return HandOver(
        **values,
        key_type=KeyType(fields["key_type"]),
        kcv_method=KcvMethod(fields["kcv_method"]),
        kcvs=tuple(_parse_hex(key["kcv"], range(256)) for key in keys),
        wrapped=tuple(_parse_hex(key["wrapped"], range(256)) for key in keys),
    )


def _parse_keys(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError
    keys = [_check_object(item, _KEY_FIELDS) for item in value]
    if [key["role"] for key in keys] != [str(role) for role in ROLES]:
        raise KmsError(Code.ENVELOPE_KEYS, "The hand-over's keys are not ENC, MAC and DEK, in this order")
    return keys


def _check_object(value: object, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != names:
        raise ValueError
    return value


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _parse_hex(value: object, lengths: range) -> bytes:
    found = bytes.fromhex(_parse_text(value))
    if len(found) not in lengths:
        raise ValueError
    return found


def _parse_number(value: object, allowed: range) -> int:
    if type(value) is not int or value not in allowed:  # True is an int, too
        raise ValueError
    return value


def _build_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime(_TIME_FORM)


def _parse_time(value: object) -> datetime:
    return datetime.strptime(_parse_text(value), _TIME_FORM).replace(tzinfo=UTC)


def _hex(value: bytes) -> str:
    return value.hex().upper()


def _refuse(_text: str) -> NoReturn:
    raise ValueError


def _malformed(what: str) -> KmsError:
    return KmsError(Code.ENVELOPE_MALFORMED, f"The hand-over's payload cannot be used: {what}")
