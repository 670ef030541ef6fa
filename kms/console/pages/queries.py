"""What addresses ask for: filters and places in lists. What is not understood is an error, never guessed at."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar, overload

from flask import request

from kms.errors import Code, KmsError

E = TypeVar("E", bound=StrEnum)
MAX_TEXT = 200  # characters


@overload
def parse_choice(kind: type[E], name: str) -> E | None: ...
@overload
def parse_choice(kind: type[E], name: str, *, default: str, others: Sequence[str]) -> str: ...
def parse_choice(kind: type[E], name: str, *, default: str = "", others: Sequence[str] = ()) -> E | str | None:
    """A choice of an enumeration; None (or `default`) where nothing is chosen, or one of `others`."""
    text = request.args.get(name, "")
    if not text or (text in ("open", "overdue", "all") and not others):
        return default or None
    if text in others:
        return text
    try:
        return kind(text)
    except ValueError:
        raise _refuse(name) from None


def parse_text(name: str) -> str:
    """A text to search for."""
    return request.args.get(name, "").strip()[:MAX_TEXT]


def parse_hex(name: str) -> bytes:
    """Bytes in hexadecimal, of whole bytes."""
    text = "".join(request.args.get(name, "").split())
    try:
        return bytes.fromhex(text[:MAX_TEXT])
    except ValueError:
        raise _refuse(name) from None


def parse_id(name: str) -> str:
    """The identifier of the last row of the page before."""
    text = request.args.get(name, "")
    if len(text) > 36 or not all(character in "0123456789abcdef-" for character in text):
        raise _refuse(name)
    return text


def parse_day(name: str) -> datetime | None:
    """A day in UTC, as `2026-01-31`, at its beginning."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise _refuse(name) from None


def parse_place(name: str) -> tuple[datetime, str, int] | None:
    """The place of an audit event: its time, chain and sequence."""
    text = request.args.get(name, "")
    if not text:
        return None
    at, _, place = text.partition("~")
    chain, _, sequence = place.rpartition("~")
    try:
        return datetime.fromisoformat(at), chain[:MAX_TEXT], int(sequence)
    except ValueError:
        raise _refuse(name) from None


def _refuse(name: str) -> KmsError:
    return KmsError(Code.INPUT_INVALID, f"The address is wrong at {name!r}: choose on the page instead.")
