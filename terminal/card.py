"""What a visit needs of a card, whether it sits in a reader, in a test or nowhere.

Rules: bytes in, bytes out. A card that is away raises `card.gone`; every other failure of the reader has its own code.
"""

from typing import Protocol

from terminal.errors import card_gone


class Card(Protocol):
    """A powered card."""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return the whole response APDU (data, SW1, SW2).

        Raises `card.gone` when the card left, `reader.*` when the reader failed.
        """
        ...

    def reset(self) -> None:
        """Reset the card: every channel on it is closed. Raises as `transmit`."""
        ...


class AbsentCard:
    """Stands for a card that is not here, so that a visit left open can be brought to its end without it."""

    def transmit(self, command: bytes) -> bytes:  # noqa: ARG002 -- the signature is the Card protocol's
        """Raise `card.gone`."""
        raise card_gone()

    def reset(self) -> None:
        """Raise `card.gone`."""
        raise card_gone()
