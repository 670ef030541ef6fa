"""The forms that parameters of several actions share, and how they are put into words."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

Identity = Annotated[bytes, Field(min_length=1, max_length=32)]
Aid = Annotated[bytes, Field(min_length=5, max_length=16)]  # ISO/IEC 7816-5: RID of 5 bytes, PIX of up to 11
Fingerprint = Annotated[bytes, Field(min_length=32, max_length=32)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Generation = Annotated[int, Field(ge=1)]
Moment = AwareDatetime


def say_bytes(value: bytes) -> str:
    """Bytes as people compare them."""
    return value.hex().upper()


def say_time(moment: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
