"""Command and response APDUs, short form (ISO/IEC 7816-4 section 5; GP Card Specification 2.3.1 section 11.1.5).

Rules: values check themselves when they are made; parsing takes exactly one APDU and nothing else. Cases 1 to 4, short
lengths only (up to 255 bytes of command data). 61xx and 6Cxx are settled at the reader, so a response may be longer
than 256 bytes here. APDU data is in no repr and no error.
"""

from dataclasses import dataclass, field

from kms.errors import Code, KmsError

MAX_COMMAND_DATA = 255


@dataclass(frozen=True)
class CommandApdu:
    """A command. `data`: 0-255 bytes; `le`: expected response length, None or 0-256, where 0 and 256 are one: "all".

    Raises `card.apdu-invalid`.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("CLA", self.cla), ("INS", self.ins), ("P1", self.p1), ("P2", self.p2)):
            if not 0 <= value <= 0xFF:
                raise KmsError(Code.APDU_INVALID, f"{name} is no byte")
        # ISO 7816-3 section 10.3.2: CLA FF belongs to PPS, INS 6x and 9x would read as status bytes.
        if self.cla == 0xFF or self.ins & 0xF0 in (0x60, 0x90):
            raise KmsError(Code.APDU_INVALID, f"CLA {self.cla:02X} INS {self.ins:02X} is no command")
        if len(self.data) > MAX_COMMAND_DATA:
            raise KmsError(Code.APDU_INVALID, f"{len(self.data)} bytes of data do not fit a short command (255)")
        if self.le is not None and not 0 <= self.le <= 256:
            raise KmsError(Code.APDU_INVALID, "Le is outside 0-256")
        if self.le == 0:
            object.__setattr__(self, "le", 256)  # one value for one encoding, so that equal bytes are equal commands

    def to_bytes(self) -> bytes:
        """Encode: header, Lc and data if there are data, Le if a response is expected (256 as 00)."""
        encoded = bytes([self.cla, self.ins, self.p1, self.p2])
        if self.data:
            encoded += bytes([len(self.data)]) + self.data
        if self.le is not None:
            encoded += bytes([self.le & 0xFF])
        return encoded


def parse_command(data: bytes) -> CommandApdu:
    """Parse one short command APDU of case 1-4. Raises `card.apdu-invalid`, also for extended lengths."""
    if len(data) < 4:
        raise KmsError(Code.APDU_INVALID, f"a command has at least 4 bytes; {len(data)} are there")
    cla, ins, p1, p2 = data[:4]
    body = data[4:]
    if len(body) <= 1:
        return CommandApdu(cla, ins, p1, p2, le=body[0] if body else None)
    lc = body[0]
    if lc == 0:
        raise KmsError(Code.APDU_INVALID, "the command has an extended length; only short commands are taken")
    if len(body) not in (1 + lc, 2 + lc):
        raise KmsError(Code.APDU_INVALID, f"Lc announces {lc} bytes; {len(body) - 1} follow it")
    le = body[1 + lc] if len(body) == 2 + lc else None
    return CommandApdu(cla, ins, p1, p2, body[1 : 1 + lc], le)


@dataclass(frozen=True)
class ResponseApdu:
    """A response: its data and its status word SW1 SW2 (61xx-6Fxx, 9xxx). Raises `card.apdu-invalid`."""

    data: bytes = field(repr=False)
    sw: int

    def __post_init__(self) -> None:
        # ISO 7816-3 section 10.3.3: SW1 is 6x or 9x, and never 60.
        if not 0x6100 <= self.sw <= 0x6FFF and not 0x9000 <= self.sw <= 0x9FFF:
            raise KmsError(Code.APDU_INVALID, "the response does not end in a status word")

    def to_bytes(self) -> bytes:
        """Encode: data, then SW1 SW2."""
        return self.data + self.sw.to_bytes(2, "big")


def parse_response(data: bytes) -> ResponseApdu:
    """Parse one response APDU.

    Raises `card.protocol-violation` for no bytes ("the response is not available") and `card.apdu-invalid` for a
    response without a status word.
    """
    response = find_response(data)
    if response is None:
        raise KmsError(Code.CARD_PROTOCOL, "the terminal reported no response to a command; the outcome is unknown")
    return response


def find_response(data: bytes) -> ResponseApdu | None:
    """Parse one response APDU; None for no bytes, with which a terminal reports that it has no response."""
    if not data:
        return None
    if len(data) < 2:
        raise KmsError(Code.APDU_INVALID, "a response has at least the two bytes of its status word")
    return ResponseApdu(data[:-2], int.from_bytes(data[-2:], "big"))
