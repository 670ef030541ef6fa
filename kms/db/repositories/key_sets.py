"""Key sets."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from kms.db.models import KeySetRow, SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.domain.keys import KeySet

_FOR_CARD = (
    select(KeySetRow.__table__)
    .join(SecurityDomainRow, SecurityDomainRow.id == KeySetRow.security_domain_id)
    .where(SecurityDomainRow.card_id == bindparam("card_id"))
    .order_by(KeySetRow.created_at, KeySetRow.id)
)


class SqlKeySetRepository(SqlRepository[KeySet]):
    """`kms.service.ports.KeySetRepository`."""

    noun = "key set"
    model = KeySetRow
    value = KeySet

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeySet]:
        """All key sets of a security domain, oldest first."""
        return self._list(
            self._select()
            .where(KeySetRow.security_domain_id == security_domain_id)
            .order_by(KeySetRow.created_at, KeySetRow.id)
        )

    def list_for_domains(self, security_domain_ids: Sequence[str]) -> Sequence[KeySet]:
        """Read the key sets of all these security domains, in no order."""
        return self._list_in("security_domain_id", security_domain_ids)

    def list_for_card(self, card_id: str) -> Sequence[KeySet]:
        """All key sets of a card's security domains, oldest first."""
        return self._list(_FOR_CARD, card_id=card_id)
