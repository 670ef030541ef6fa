"""What a visit needs of the server: SERAM's two calls, with reconnecting done below.

Rules: a Report is sent with exactly the cookies of the Order that it answers; the same Report may be sent several times
until an answer arrives. Bodies stay bytes here; `terminal.seram` gives them meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from terminal.seram import Report


@dataclass(frozen=True)
class Answer:
    """The server's answer to one request: the body, and the cookies in force after it (name to value)."""

    body: bytes = field(repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """A connection to the server, kept open for a visit."""

    @property
    def requests(self) -> int:
        """HTTP requests made so far, repeated ones included."""
        ...

    def handshake(self, session_id: str, card_identity: bytes) -> Answer:
        """Introduce the card. Raises `server.*`."""
        ...

    def report(self, session_id: str, report: Report, cookies: Mapping[str, str]) -> Answer:
        """Send a Report with these cookies and nothing else, and return the next Order. Raises `server.*`."""
        ...
