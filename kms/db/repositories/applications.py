"""Applications."""

from collections.abc import Sequence

from kms.db.models import ApplicationRow
from kms.db.repositories.base import SqlRepository
from kms.domain.cards import Application


class SqlApplicationRepository(SqlRepository[Application]):
    """`kms.service.ports.ApplicationRepository`."""

    noun = "application"
    model = ApplicationRow
    value = Application

    def find_by_aid(self, card_id: str, aid: bytes) -> Application | None:
        """Read the newest application for this AID on the card."""
        return self._find_one(
            self._select()
            .where(ApplicationRow.card_id == card_id, ApplicationRow.aid == aid)
            .order_by(ApplicationRow.requested_at.desc(), ApplicationRow.id.desc())
        )

    def list_for_card(self, card_id: str) -> Sequence[Application]:
        """All applications on the card, oldest first."""
        return self._list(
            self._select()
            .where(ApplicationRow.card_id == card_id)
            .order_by(ApplicationRow.requested_at, ApplicationRow.id)
        )
