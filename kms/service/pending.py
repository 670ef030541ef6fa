"""What waits for the cards that a terminal may serve.

Rules: a terminal sees only the cards and security domains within its limits; cards that are set aside do not show.
"""

from kms.domain.cards import Card, CardState
from kms.domain.pending import (
    PendingCard,
    PendingCursor,
    PendingFilter,
    PendingItem,
    PendingPage,
    group_by_card,
)
from kms.domain.terminal_limits import check_card_allowed
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError
from kms.service.ports import Store, Transaction
from kms.service.visits import check_served


class PendingService:
    """The list of what is pending."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def list_page(
        self, terminal: Terminal, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None
    ) -> PendingPage:
        """A page of at most `limit` updates after a cursor, by card. `wanted.limits` are the terminal's own."""
        narrowed = PendingFilter(wanted.aid, wanted.reason, wanted.due_before, terminal.limits)
        with self._store.transaction() as tx:
            page = tx.pending.list_page(narrowed, limit=limit, after=after)
        return PendingPage(group_by_card(page.rows), page.after)

    def list_for_card(self, terminal: Terminal, identity: bytes, wanted: PendingFilter) -> PendingPage:
        """What waits for one card. Raises `card.unknown`, `card.quarantined`, `terminal.not-allowed`."""
        narrowed = PendingFilter(wanted.aid, wanted.reason, wanted.due_before, terminal.limits)
        check_card_allowed(terminal.limits, identity)
        with self._store.transaction() as tx:
            card = get_served_card(tx, identity)
            aids = {domain.id: domain.aid for domain in tx.security_domains.list_for_card(card.id)}
            updates = tx.key_updates.list_open_for_card(card.id)
        items = (PendingItem(aids[item.security_domain_id], item.reason, item.due_at) for item in updates)
        return PendingPage((PendingCard(card.identity, tuple(item for item in items if narrowed.accepts(item))),), None)


def get_served_card(tx: Transaction, identity: bytes) -> Card:
    """Get a card that is served. Raises `card.unknown`, `card.quarantined`."""
    card = tx.cards.find_by_identity(identity)
    if card is None or card.state is CardState.RETIRED:
        raise KmsError(Code.CARD_UNKNOWN, "no card with this identity is enrolled: import it first")
    check_served(card)
    return card
