"""Transfers of security domains between platforms."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select

from kms.db.faults import translate_faults
from kms.db.models import TransferRow
from kms.db.repositories.base import SqlRepository
from kms.domain.transfers import OPEN_TRANSFERS, Transfer

_FOR_CARD = (
    select(TransferRow.__table__)
    .where(TransferRow.card_identity == bindparam("card_identity"))
    .order_by(TransferRow.requested_at, TransferRow.id)
)


class SqlTransferRepository(SqlRepository[Transfer]):
    """`kms.service.ports.TransferRepository`."""

    noun = "transfer"
    model = TransferRow
    value = Transfer

    def list_for_card(self, card_identity: bytes) -> Sequence[Transfer]:
        """Read a card's transfers, oldest first."""
        return self._list(_FOR_CARD, card_identity=card_identity)

    def count_open(self, peer: str) -> int:
        """Count the transfers with this peer that are not at their end."""
        return self._count(TransferRow.peer == peer, TransferRow.state.in_(sorted(OPEN_TRANSFERS)))

    def count_since(self, peer: str, since: datetime) -> int:
        """Count the transfers with this peer that were asked for since then."""
        return self._count(TransferRow.peer == peer, TransferRow.requested_at >= since)

    def _count(self, *conditions: object) -> int:
        statement = select(func.count()).select_from(TransferRow).where(*conditions)  # type: ignore[arg-type] # column expressions
        with translate_faults(self.noun):
            return int(self._connection.execute(statement).scalar_one())
