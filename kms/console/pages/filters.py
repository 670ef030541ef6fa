"""How values are written on pages: one way each."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

TONES = {
    "good": {"ACTIVE", "PROVED", "DONE", "ENROLLED", "KEYED", "RUNNING", "EXECUTED", "IN_FORCE", "READY"},
    "wait": {
        "PENDING",
        "PLANNED",
        "PRE_ACTIVATION",
        "FILLING",
        "INVITED",
        "CREATING",
        "EXECUTING",
        "IN_FLIGHT",
        "OPEN",
    },
    "warn": {"PAUSED", "SUSPENDED", "IN_DOUBT", "QUARANTINED", "EXPIRED", "warning", "RECOVERY", "STOPPED", "FENCED"},
    "bad": {"FAILED", "COMPROMISED", "REVOKED", "critical", "REJECTED", "BROKEN"},
}


def show_hex(value: bytes | None) -> str:
    """Bytes as people compare them."""
    return value.hex().upper() if value else ""


def show_grouped(value: bytes | None) -> str:
    """A fingerprint in groups of four digits."""
    text = show_hex(value)
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def show_time(value: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if value else "—"


def show_second(value: datetime | None) -> str:
    """A time in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else "—"


def show_day(value: datetime | None) -> str:
    """The day of a time in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d}" if value else "—"


def show_iso(value: datetime | None) -> str:
    """A time for machines."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if value else ""


def show_span(value: timedelta) -> str:
    """A length of time in its two largest units."""
    seconds = int(abs(value.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3600, seconds % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def show_left(value: datetime | None, now: datetime) -> str:
    """How long until then, or since when it is over."""
    if value is None:
        return "—"
    return f"{show_span(value - now)} left" if value > now else f"over since {show_span(now - value)}"


def show_word(value: object) -> str:
    """A state or reason as a word."""
    return str(value).replace("_", " ").lower() if value is not None else "—"


def find_tone(value: object) -> str:
    """The look of a state: good, wait, warn, bad, or none of these."""
    text = str(value)
    return next((tone for tone, words in TONES.items() if text in words), "plain")


def show_number(value: float) -> str:
    """A number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def show_kvn(value: int | None) -> str:
    """A key version number or option as two hexadecimal digits."""
    return f"{value:02X}" if value is not None else "—"


def show_kcv(value: Any) -> str:  # noqa: ANN401 - one check value or several
    """Check values, as they are compared."""
    parts = value if isinstance(value, tuple) else (value,)
    return " · ".join(show_hex(part) for part in parts if part) or "—"


FILTERS: dict[str, Callable[..., object]] = {
    "hex": show_hex,
    "grouped": show_grouped,
    "time": show_time,
    "second": show_second,
    "day": show_day,
    "iso": show_iso,
    "span": show_span,
    "left": show_left,
    "word": show_word,
    "tone": find_tone,
    "number": show_number,
    "kvn": show_kvn,
    "kcv": show_kcv,
}
