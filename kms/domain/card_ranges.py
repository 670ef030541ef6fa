"""Ranges of card identities: whose cards a provider meets.

Rules: identities compare byte by byte and only with identities of the same length; ranges do not overlap.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CardRange:
    """Cards of one issuer. `first`, `last`: identities of one length, both inside. `issuer`: the peer's name."""

    first: bytes
    last: bytes
    issuer: str

    def __contains__(self, identity: bytes) -> bool:
        return len(identity) == len(self.first) and self.first <= identity <= self.last


def find_issuer(ranges: Iterable[CardRange], identity: bytes) -> str | None:
    """Find the peer that issued a card."""
    return next((found.issuer for found in ranges if identity in found), None)
