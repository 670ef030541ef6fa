"""Key updates."""

from collections.abc import Sequence

from sqlalchemy import case

from kms.db.models import KeyUpdateRow, SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.domain.cards import DomainKind
from kms.domain.updates import OPEN_STATES, KeyUpdate


class SqlKeyUpdateRepository(SqlRepository[KeyUpdate]):
    """`kms.service.ports.KeyUpdateRepository`."""

    noun = "key update"
    model = KeyUpdateRow
    value = KeyUpdate

    def list_open_for_card(self, card_id: str) -> Sequence[KeyUpdate]:
        """PENDING and RUNNING updates of the card's security domains, the ISD's first, then by due time."""
        isd_first = case((SecurityDomainRow.kind == DomainKind.ISD, 0), else_=1)
        return self._list(
            self._select()
            .join(SecurityDomainRow, SecurityDomainRow.id == KeyUpdateRow.security_domain_id)
            .where(SecurityDomainRow.card_id == card_id, KeyUpdateRow.state.in_(sorted(OPEN_STATES)))
            .order_by(isd_first, KeyUpdateRow.due_at, KeyUpdateRow.id)
        )

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeyUpdate]:
        """All updates of a security domain, oldest first."""
        return self._list(
            self._select()
            .where(KeyUpdateRow.security_domain_id == security_domain_id)
            .order_by(KeyUpdateRow.requested_at, KeyUpdateRow.id)
        )
