"""What campaigns and the compromise of a master need of the store: statements over sets of rows, in bounded batches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from kms.domain.campaigns import Campaign, CampaignCounts, CampaignState, Filled
from kms.domain.compromises import Affected, AffectedDomain, Marked, MasterUse, Remedy


class CampaignRepository(Protocol):
    """Campaigns."""

    def add(self, item: Campaign) -> None:
        """Insert. Raises `input.conflict` where its name is taken."""
        ...

    def get(self, item_id: str) -> Campaign:
        """Read by id. Raises `input.not-found`."""
        ...

    def find(self, item_id: str) -> Campaign | None:
        """Read by id."""
        ...

    def save(self, item: Campaign) -> None:
        """Write all columns. Raises `input.not-found`."""
        ...

    def find_by_name(self, name: str) -> Campaign | None:
        """Read the campaign of this name."""
        ...

    def list_in(self, states: Sequence[CampaignState]) -> Sequence[Campaign]:
        """The campaigns in these states, oldest first."""
        ...

    def count_matching(self, campaign: Campaign) -> Filled:
        """What filling would come to; writes nothing, and the campaign need not be stored."""
        ...

    def fill(self, campaign: Campaign, *, due_at: datetime, limit: int, at: datetime) -> Filled:
        """Add updates for the next security domains after the cursor, at most `limit`; who has an open one gets none.

        The campaign's own row is not changed. Raises `visit.conflict` where another adds an update for one of them at
        the same time; the transaction may be tried again.
        """
        ...

    def count_updates(self, campaign_id: str, now: datetime) -> CampaignCounts:
        """What became of the campaign's updates, in one statement."""
        ...

    def cancel_pending(self, campaign_id: str, *, at: datetime, why: str, limit: int) -> int:
        """Cancel at most `limit` updates that no visit has begun; returns how many."""
        ...


class Compromises(Protocol):
    """Masters and what is below them. `no_route`: profiles of cards that people alone bring new keys to."""

    def mark(self, master_id: str, *, after: str, limit: int, at: datetime) -> Marked:
        """Mark what is below the master in the next security domains after `after`, at most `limit`, as COMPROMISED.

        Their cards are claimed and their open visits fenced; open updates that would run under such a set are
        cancelled; a provider's issuer is to be asked. What is marked already is not come to again.
        """
        ...

    def find_use(self, master_id: str) -> MasterUse:
        """What hangs on a master."""
        ...

    def count_affected(self, master_id: str, no_route: tuple[str, ...]) -> Affected:
        """The security domains below a compromised master by what becomes of them."""
        ...

    def list_affected(
        self, master_id: str, no_route: tuple[str, ...], *, remedies: Sequence[Remedy], limit: int, offset: int
    ) -> Sequence[AffectedDomain]:
        """A page of them by card identity and AID; `remedies` empty: all."""
        ...
