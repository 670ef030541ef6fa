"""Security domains."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from kms.db.models import SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.domain.cards import SecurityDomain

_FOR_CARD = (
    select(SecurityDomainRow.__table__)
    .where(SecurityDomainRow.card_id == bindparam("card_id"))
    .order_by(SecurityDomainRow.id)
)


class SqlSecurityDomainRepository(SqlRepository[SecurityDomain]):
    """`kms.service.ports.SecurityDomainRepository`."""

    noun = "security domain"
    model = SecurityDomainRow
    value = SecurityDomain

    def find_by_aid(self, card_id: str, aid: bytes) -> SecurityDomain | None:
        """Read the card's security domain with this AID."""
        return self._find_one(self._select().where(SecurityDomainRow.card_id == card_id, SecurityDomainRow.aid == aid))

    def list_for_card(self, card_id: str) -> Sequence[SecurityDomain]:
        """Read the card's security domains, oldest first."""
        return self._list(_FOR_CARD, card_id=card_id)

    def list_for_cards(self, card_ids: Sequence[str]) -> Sequence[SecurityDomain]:
        """Read the security domains of all these cards, in no order."""
        return self._list_in("card_id", card_ids)
