"""Command and response APDUs, short form only (ISO 7816-3 section 12.1, cases 1 to 4)."""

from dataclasses import dataclass, field
from typing import Final

from terminal.virtual_card.status import WRONG_LENGTH, CardError

SECURE_MESSAGING_BIT: Final = 0x04


@dataclass(frozen=True)
class CommandApdu:
    """A command; `le` is None when the Le byte is absent and 256 when it is 00."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None

    @property
    def is_secured(self) -> bool:
        """Whether the class byte announces GlobalPlatform secure messaging."""
        return bool(self.cla & SECURE_MESSAGING_BIT)


@dataclass(frozen=True)
class ResponseApdu:
    """Response data and status word."""

    data: bytes = field(repr=False)
    sw: int

    def to_bytes(self) -> bytes:
        """Return `data ‖ SW1 SW2`."""
        return self.data + self.sw.to_bytes(2, "big")


def parse_command(raw: bytes) -> CommandApdu:
    """Read a short command APDU; raise CardError 6700 when its lengths do not agree."""
    if len(raw) < 4:
        raise CardError(WRONG_LENGTH)
    cla, ins, p1, p2 = raw[:4]
    body = raw[4:]
    if not body:
        return CommandApdu(cla, ins, p1, p2)
    if len(body) == 1:
        return CommandApdu(cla, ins, p1, p2, le=body[0] or 256)
    lc = body[0]
    if lc == 0 and len(body) == 2:
        # Some hosts write case 4 without data as Lc 00, Le; ISO 7816-3 has no such form, real cards take it.
        return CommandApdu(cla, ins, p1, p2, le=body[1] or 256)
    if lc == 0:
        raise CardError(WRONG_LENGTH)  # extended lengths are not offered
    data, rest = body[1 : 1 + lc], body[1 + lc :]
    if len(data) != lc or len(rest) > 1:
        raise CardError(WRONG_LENGTH)
    return CommandApdu(cla, ins, p1, p2, data, (rest[0] or 256) if rest else None)
