"""Cards."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, update

from kms.db.models import CardRow, KeyUpdateRow, SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.db.repositories.key_updates import build_served
from kms.domain.cards import Card, CardState
from kms.errors import Code, KmsError

_CLAIM = (
    update(CardRow)
    .where(CardRow.id == bindparam("card_id"), CardRow.version == bindparam("read_version"))
    .values(version=bindparam("next_version"))
)


class SqlCardRepository(SqlRepository[Card]):
    """`kms.service.ports.CardRepository`."""

    noun = "card"
    model = CardRow
    value = Card

    def find_by_identity(self, identity: bytes) -> Card | None:
        """Read the card with this identity."""
        return self._find_one(self._select().where(CardRow.identity == identity))

    def find_by_identities(self, identities: Sequence[bytes]) -> Sequence[Card]:
        """Read the cards among `identities` that are enrolled, in no order."""
        return self._list_in("identity", identities)

    def list_pending(self, *, limit: int = 100, offset: int = 0) -> Sequence[Card]:
        """Read a page of the cards in service that have updates to be done now, oldest first."""
        owed = (
            select(SecurityDomainRow.card_id)
            .join(KeyUpdateRow, KeyUpdateRow.security_domain_id == SecurityDomainRow.id)
            .where(build_served())
        )
        statement = self._select().where(CardRow.state == CardState.ENROLLED, CardRow.id.in_(owed))
        return self._list(statement.order_by(CardRow.id).limit(limit).offset(offset))

    def claim(self, card: Card) -> None:
        """Count up the card's version where the stored one is `card.version`. Raises `visit.conflict`."""
        # One conditional UPDATE decides between two workers that took the same step; no read comes before it.
        versions = {"card_id": card.id, "read_version": card.version, "next_version": card.version + 1}
        if self._write(_CLAIM, versions) == 0:
            raise KmsError(Code.VISIT_CONFLICT, "Another request has taken this card's next step already.")
