"""Forms that the messages of our own addresses share: camel case, byte strings in hex, nothing unknown."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Identity = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}){1,32}$", description="Card identity, 1-32 bytes in hex.")]
Aid = Annotated[
    str, Field(pattern=r"^([0-9A-Fa-f]{2}){5,16}$", description="Application identifier, 5-16 bytes in hex.")
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Message(BaseModel):
    """A message of ours: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


def build_hex(value: bytes) -> str:
    """Bytes in upper-case hex."""
    return value.hex().upper()


def build_time(at: datetime) -> str:
    """A time in UTC, to the second (RFC 3339)."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
