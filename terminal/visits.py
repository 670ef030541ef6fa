"""Serves one card that is presented: first the visit that an earlier run left open, then its own.

Rules: a visit left open is always brought to its end first: with its card if that is the one present, without a card
otherwise, which still gets known responses to the server. A terminal serves one card at a time.
"""

import uuid
from dataclasses import dataclass

from terminal.card import AbsentCard, Card
from terminal.errors import TerminalCode, TerminalError
from terminal.relay import Relay, VisitSummary


@dataclass(frozen=True)
class Served:
    """What serving a card took. `settled`: an earlier visit that was brought to its end, `visit`: this card's own."""

    settled: VisitSummary | None
    visit: VisitSummary


def settle_without_card(relay: Relay) -> VisitSummary | None:
    """Bring an open visit to its end although its card is not here; None when there is none or the server let it go."""
    return _settle(relay, AbsentCard())


def serve_card(relay: Relay, card: Card, card_identity: bytes, session_id: str = "") -> Served:
    """Settle what is open, then run a visit of this card. `session_id`: the server's, else a new UUID (version 4).

    Raises what `Relay.run_visit` raises, and the card's error when it could not answer every command.
    """
    open_visit = relay.journal.find_open_visit()
    is_same_card = open_visit is not None and open_visit.card_identity == card_identity
    settled = _settle(relay, card) if is_same_card else settle_without_card(relay)
    _check_card(settled if is_same_card else None)
    visit = relay.run_visit(session_id or str(uuid.uuid4()), card, card_identity)
    _check_card(visit)
    return Served(settled, visit)


def _settle(relay: Relay, card: Card) -> VisitSummary | None:
    if relay.journal.find_open_visit() is None:
        return None
    try:
        return relay.resume_visit(card)
    except TerminalError as error:
        if error.code in (TerminalCode.SESSION_OVER, TerminalCode.SERVER_REFUSED):
            return None  # over at the server too: its next visit reconciles
        raise


def _check_card(summary: VisitSummary | None) -> None:
    if summary is not None and summary.card_error is not None:
        raise summary.card_error
