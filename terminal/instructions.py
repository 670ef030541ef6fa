"""Names of the commands that pass, by their instruction byte: all that a relay shows of a command."""

_NAMES = {
    0x50: "INITIALIZE UPDATE",
    0x7A: "BEGIN R-MAC SESSION",
    0x78: "END R-MAC SESSION",
    0x82: "EXTERNAL AUTHENTICATE",
    0x84: "GET CHALLENGE",
    0xA4: "SELECT",
    0xC0: "GET RESPONSE",
    0xCA: "GET DATA",
    0xCB: "GET DATA",
    0xD8: "PUT KEY",
    0xE2: "STORE DATA",
    0xE4: "DELETE",
    0xE6: "INSTALL",
    0xE8: "LOAD",
    0xF0: "SET STATUS",
    0xF2: "GET STATUS",
}


def find_name(command: bytes) -> str:
    """Name a command APDU by its second byte (GP 2.3.1 Table 11-1, ISO/IEC 7816-4 Table 4)."""
    return _NAMES.get(command[1], f"INS {command[1]:02X}")
