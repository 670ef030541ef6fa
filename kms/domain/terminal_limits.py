"""What a terminal may serve: ranges of card identities, and security domains.

Rules: no limit of a kind means that everything of the kind is allowed. Identities compare byte by byte and only with
identities of the same length; AIDs compare whole.
"""

from dataclasses import dataclass

from kms.errors import Code, KmsError

MAX_LIMITS = 200


@dataclass(frozen=True)
class CardSpan:
    """Card identities from `first` to `last`, both inside, 1-32 bytes of one length."""

    first: bytes
    last: bytes

    def __contains__(self, identity: bytes) -> bool:
        return len(identity) == len(self.first) and self.first <= identity <= self.last


@dataclass(frozen=True)
class TerminalLimits:
    """The cards and security domains (AIDs, 5-16 bytes) that a terminal may serve; empty: all."""

    cards: tuple[CardSpan, ...] = ()
    aids: tuple[bytes, ...] = ()

    def allows_card(self, identity: bytes) -> bool:
        """Whether the card is among those it may serve."""
        return not self.cards or any(identity in span for span in self.cards)

    def allows_domain(self, aid: bytes) -> bool:
        """Whether the security domain is among those it may serve."""
        return not self.aids or aid in self.aids


NO_LIMITS = TerminalLimits()


def check_card_allowed(limits: TerminalLimits, identity: bytes) -> None:
    """Raise `terminal.not-allowed` for a card that the terminal may not serve."""
    if not limits.allows_card(identity):
        raise KmsError(Code.TERMINAL_NOT_ALLOWED, "this terminal may not serve this card: present it at another one")


def check_domain_allowed(limits: TerminalLimits, aid: bytes) -> None:
    """Raise `terminal.not-allowed` for a security domain that the terminal may not serve."""
    if not limits.allows_domain(aid):
        raise KmsError(
            Code.TERMINAL_NOT_ALLOWED, "this terminal may not serve this security domain: apply at another one"
        )


def build_span(first: bytes, last: bytes) -> CardSpan:
    """Make a range. Raises `input.invalid` unless both ends have one length and are in order."""
    if not 1 <= len(first) <= 32 or len(first) != len(last) or first > last:
        raise KmsError(
            Code.INPUT_INVALID, "A card range is FROM-TO: two identities of one length, the lower one first."
        )
    return CardSpan(first, last)
