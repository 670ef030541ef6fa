"""Serves one card that is presented: first the visit that an earlier run left open, then its own.

Rules: a visit left open is always brought to its end first: with its card if that is the one present, without a card
otherwise, which still gets known responses to the server. A terminal serves one card at a time.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from terminal.card import AbsentCard, Card
from terminal.errors import TerminalCode, TerminalError
from terminal.relay import Relay, VisitSummary


@dataclass(frozen=True)
class Served:
    """What serving a card took.

    `settled`: an earlier visit that was brought to its end; `visit`: this card's own, None when the card left before.
    `card_error`: why the card could not answer every command, None when it did.
    """

    settled: VisitSummary | None
    visit: VisitSummary | None
    card_error: TerminalError | None


def new_session_id() -> str:
    """Make a sessionId for a visit that the terminal begins: a UUID (version 4)."""
    return str(uuid.uuid4())


def serve_card(
    relay: Relay, card: Card, card_identity: bytes, open_session: Callable[[], str] = new_session_id
) -> Served:
    """Settle what is open, then run a visit of this card; `open_session` gives its sessionId. Raises as `run_visit`."""
    open_visit = relay.journal.find_open_visit()
    if open_visit is not None and open_visit.card_identity == card_identity:
        settled = _settle(relay, card)
        if settled is not None and settled.card_error is not None:
            return Served(settled, None, settled.card_error)
    else:
        settled = settle_without_card(relay)
    visit = relay.run_visit(open_session(), card, card_identity)
    return Served(settled, visit, visit.card_error)


def settle_without_card(relay: Relay) -> VisitSummary | None:
    """Bring an open visit to its end although its card is not here.

    None when there is none, when no command of it left for the card, or when the server has let it go.
    """
    open_visit = relay.journal.find_open_visit()
    if open_visit is not None and not open_visit.ordered:
        relay.journal.erase()
        return None
    return _settle(relay, AbsentCard())


def _settle(relay: Relay, card: Card) -> VisitSummary | None:
    if relay.journal.find_open_visit() is None:
        return None
    try:
        return relay.resume_visit(card)
    except TerminalError as error:
        if error.code in (TerminalCode.SESSION_OVER, TerminalCode.SERVER_REFUSED):
            return None  # over at the server too: its next visit reconciles
        raise
