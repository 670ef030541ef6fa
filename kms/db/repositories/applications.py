"""Applications."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from kms.db.models import ApplicationRow
from kms.db.repositories.base import SqlRepository
from kms.domain.cards import Application

_FOR_CARD = (
    select(ApplicationRow.__table__)
    .where(ApplicationRow.card_id == bindparam("card_id"))
    .order_by(ApplicationRow.requested_at, ApplicationRow.id)
)


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
        return self._list(_FOR_CARD, card_id=card_id)
