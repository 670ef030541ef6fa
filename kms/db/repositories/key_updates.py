"""Key updates."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, func, or_, select, update

from kms.db.faults import translate_faults
from kms.db.models import CampaignRow, KeyUpdateRow, SecurityDomainRow
from kms.db.repositories.base import SqlRepository
from kms.domain.campaigns import CampaignState
from kms.domain.cards import DomainKind
from kms.domain.people import BY_REQUEST, PERSON
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateState


class SqlKeyUpdateRepository(SqlRepository[KeyUpdate]):
    """`kms.service.ports.KeyUpdateRepository`."""

    noun = "key update"
    model = KeyUpdateRow
    value = KeyUpdate

    def add(self, item: KeyUpdate) -> None:
        """Insert. Raises `input.conflict`; `visit.conflict` where another adds one for the same security domain."""
        # Who adds an update found none open. A new row collides with nothing, so two transactions at once would both
        # add one (write skew, which REPEATABLE READ lets pass): the security domain's row makes them collide.
        touch = update(SecurityDomainRow).where(SecurityDomainRow.id == item.security_domain_id)
        self._write(touch.values(last_generation=SecurityDomainRow.last_generation))
        super().add(item)

    def list_open_for_card(self, card_id: str) -> Sequence[KeyUpdate]:
        """PENDING and RUNNING updates of the card's security domains, the ISD's first, then by due time.

        Not those that wait for their campaign (`build_served`).
        """
        return self._list(_OPEN_FOR_CARD, card_id=card_id)

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeyUpdate]:
        """All updates of a security domain, oldest first."""
        return self._list(
            self._select()
            .where(KeyUpdateRow.security_domain_id == security_domain_id)
            .order_by(KeyUpdateRow.requested_at, KeyUpdateRow.id)
        )

    def count_forced(self, since: datetime) -> int:
        """Updates that people asked for since then by themselves: of no campaign and by no approved request."""
        statement = select(func.count()).where(
            KeyUpdateRow.requested_at >= since,
            KeyUpdateRow.campaign_id.is_(None),
            KeyUpdateRow.requested_by.startswith(PERSON, autoescape=True),
            ~KeyUpdateRow.requested_by.contains(BY_REQUEST, autoescape=True),
        )
        with translate_faults(self.noun):
            return int(self._connection.execute(statement).scalar_one())


def build_served() -> ColumnElement[bool]:
    """Whether an update is open and may be done now."""
    return and_(KeyUpdateRow.state.in_(sorted(OPEN_STATES)), build_released())


def build_released() -> ColumnElement[bool]:
    """Whether an open update waits for no campaign.

    One of a campaign may be done only while that runs and has released it; what a visit began before is gone on with.
    """
    released = exists().where(
        CampaignRow.id == KeyUpdateRow.campaign_id,
        CampaignRow.state == CampaignState.RUNNING,
        CampaignRow.released_until >= KeyUpdateRow.due_at,
    )
    return or_(KeyUpdateRow.campaign_id.is_(None), KeyUpdateRow.state == UpdateState.RUNNING, released)


_MINE = SecurityDomainRow.card_id == bindparam("card_id")
_OPEN_FOR_CARD = (
    select(KeyUpdateRow.__table__)
    .join(SecurityDomainRow, SecurityDomainRow.id == KeyUpdateRow.security_domain_id)
    # Said twice, so that SQLite begins with the card and not with all that is open on any.
    .where(KeyUpdateRow.security_domain_id.in_(select(SecurityDomainRow.id).where(_MINE)), _MINE, build_served())
    .order_by(case((SecurityDomainRow.kind == DomainKind.ISD, 0), else_=1), KeyUpdateRow.due_at, KeyUpdateRow.id)
)
