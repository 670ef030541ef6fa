"""Strict JSON bodies: one meaning or none.

Rules: a body is `application/json` or it is refused; duplicate keys, NaN and Infinity, and nesting beyond what the
parser takes are malformed. (RFC 8259 section 4 leaves duplicate keys open, so two readers may see two messages.)
"""

import json
from typing import Any, NoReturn

from flask import Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import UnsupportedMediaType

MAX_BODY = 64 * 1024  # bytes; a Report of 120 short APDU responses in hex is below it
JSON_TYPE = "application/json"


class StrictJsonProvider(DefaultJSONProvider):
    """The application's JSON reader and writer; a `ValueError` of the reader becomes a 400 in Flask."""

    sort_keys = False

    def loads(self, s: str | bytes, **_kwargs: Any) -> Any:  # noqa: ANN401 (the signature is Flask's)
        """Parse one JSON text. Raises `ValueError`."""
        text = s.decode("utf-8") if isinstance(s, bytes) else s  # RFC 8259 section 8.1: UTF-8, no guessing
        try:
            return json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def check_media_type(request: Request) -> None:
    """Raise 415 unless a request that may carry a body says it is JSON."""
    if request.method in {"POST", "PUT", "PATCH"} and request.mimetype != JSON_TYPE:
        raise UnsupportedMediaType


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")
