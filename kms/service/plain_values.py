"""Results as plain values: what JSON can hold, written one way for the command line, the admin API and the records.

Rules: bytes are upper-case hex, times UTC in ISO 8601 to the second, enums their text. A dataclass field with
`repr=False` is never shown: that is how values say that they are nobody's to read.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def build_record(value: "DataclassInstance", **more: object) -> dict[str, object]:
    """Make a row of a frozen value: its shown fields in their order, then `more`."""
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    return fields | more


def to_plain(value: object) -> object:
    """A value as JSON holds it, whole structures included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = build_record(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_plain(item) for item in value), key=str)
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return _to_scalar(value)


def _to_scalar(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    return value
