"""A policy as text: how versions are kept.

Rules: JSON with the fields in order, bytes as hex, times in ISO 8601. A field that this program does not know is left
out and one that is missing has its default, so that an older and a newer program may share a database.
"""

import dataclasses
import json
from datetime import datetime
from typing import Any

from kms.domain.cards import DomainKind
from kms.domain.policies import Policy, PolicyClass
from kms.domain.policy_window import Weekday, Window

_TIMES = ("valid_from", "valid_until")


def build_policy_text(policy: Policy) -> str:
    """Write a policy as text; the same policy always gives the same text."""
    return json.dumps(dataclasses.asdict(policy), default=_to_plain)


def parse_policy_text(text: str) -> Policy:
    """Read what `build_policy_text` wrote. Raises `input.invalid` for values that break a rule of policies."""
    raw: dict[str, Any] = json.loads(text)
    applies_to, window = raw["applies_to"], raw["window"]
    values = raw | {
        "applies_to": PolicyClass(
            DomainKind(applies_to["kind"]),
            bytes.fromhex(applies_to["aid_prefix"]),
            applies_to["managed_by"],
            applies_to["batch"],
        ),
        "window": Window(tuple(Weekday(day) for day in window["weekdays"]), window["from_hour"], window["to_hour"]),
        "notice_days": tuple(raw["notice_days"]),
    }
    values |= {name: datetime.fromisoformat(values[name]) for name in _TIMES if values.get(name)}
    known = {field.name for field in dataclasses.fields(Policy)}
    return Policy(**{name: value for name, value in values.items() if name in known})


def _to_plain(value: object) -> str:
    return value.hex().upper() if isinstance(value, bytes) else value.isoformat()  # type: ignore[attr-defined] # times are the only others
