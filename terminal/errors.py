"""The terminal's one error type.

Rules: `code` is stable; `problem` says what is wrong and `remedy` what to do; neither ever holds APDU data or a path to
a secret's content. What the next run will do depends on the journal and is added by `terminal.app`.
"""

from enum import StrEnum


class TerminalCode(StrEnum):
    """Stable error codes: `noun.condition`."""

    CONFIG_INVALID = "config.invalid"
    PCSC_DOWN = "reader.service-down"
    READER_NONE = "reader.none"
    READER_GONE = "reader.gone"
    READER_BUSY = "reader.busy"
    READER_STUCK = "reader.stuck"
    READER_FAILED = "reader.failed"
    CARD_NONE = "card.none"
    CARD_GONE = "card.gone"
    CARD_MUTE = "card.mute"
    CARD_PROTOCOL = "card.protocol-violation"
    CARD_IDENTITY = "card.identity-missing"
    SERVER_UNREACHABLE = "server.unreachable"
    SERVER_TLS = "server.tls"
    SERVER_REFUSED = "server.refused"
    SERVER_UNAUTHORISED = "server.unauthorised"
    SESSION_OVER = "server.session-over"
    SERVER_PROTOCOL = "server.protocol-violation"
    JOURNAL_BUSY = "journal.busy"
    JOURNAL_FAILED = "journal.failed"


class TerminalError(Exception):
    """An error with a meaning: a stable code, what is wrong, what to do.

    `server_code`: the code of the server's problem document (RFC 9457), or empty.
    """

    def __init__(self, code: TerminalCode, problem: str, remedy: str, *, server_code: str = "") -> None:
        super().__init__(f"{code}: {problem} {remedy}")
        self.code = code
        self.problem = problem
        self.remedy = remedy
        self.server_code = server_code


def card_gone() -> TerminalError:
    """Build the error of a card that was pulled out or lost its power."""
    return TerminalError(
        TerminalCode.CARD_GONE,
        "The card was removed, or lost its power, before the visit was over.",
        "Present the same card again and leave it until the terminal says that it is done.",
    )
