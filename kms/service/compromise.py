"""A master key that is compromised: marked with all below it, replaced where that needs nobody, listed where not.

Rules: the master is marked first, so from that commit on nothing is derived from it (`kms.service.key_ends`); its key
sets follow in bounded batches, each with its visits fenced. What was cut off, the same command goes on with; once more
it changes nothing. Key sets that were put in under a channel of compromised keys are not below them: who recorded those
visits may know them too, which people judge (docs/operations.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.campaigns import Campaign, CampaignFilter, CampaignState
from kms.domain.compromises import Affected, AffectedDomain, Marked, Remedy
from kms.domain.keys import KeyState, MasterKey
from kms.domain.updates import UpdateReason
from kms.errors import Code, KmsError
from kms.service.campaigns import CampaignService, Progress, find_master
from kms.service.ports import Clock, Identifiers, Store
from kms.service.visits import until_claimed

BATCH = 500  # security domains a transaction: each brings its sets, visits, card and updates


@dataclass(frozen=True)
class CompromiseReport:
    """What a compromise came to. `marked`: by this run. `campaign`: that replaces what needs nobody, if anything."""

    master: MasterKey
    marked: Marked
    campaign: Campaign | None
    affected: Affected


class CompromiseService:
    """The use cases of compromised masters. `no_route`: profiles of cards that people alone bring new keys to."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        campaigns: CampaignService,
        platform: str,
        no_route: tuple[str, ...],
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._campaigns = campaigns
        self._platform = platform
        self._no_route = no_route

    def compromise(
        self,
        name: str,
        generation: int,
        *,
        actor: str,
        why: str,
        progress: Progress = lambda _done, _of: None,
    ) -> CompromiseReport:
        """Mark a master and what is below it, and ask for new keys. Raises `input.not-found`, `key.state`."""
        master = until_claimed(lambda: self._mark_master(name, generation, actor, why))
        marked = self._mark_below(master, actor, progress)
        campaign = self._replace(master, actor, progress)
        with self._store.transaction() as tx:
            affected = tx.compromises.count_affected(master.id, self._no_route)
        return CompromiseReport(master, marked, campaign, affected)

    def count(self, name: str, generation: int) -> tuple[MasterKey, Affected]:
        """What is below a compromised master, by what becomes of it. Raises `input.not-found`, `key.state`."""
        with self._store.transaction() as tx:
            master = find_master(tx, name, generation)
            _check_compromised(master)
            return master, tx.compromises.count_affected(master.id, self._no_route)

    def list(
        self, name: str, generation: int, *, remedies: Sequence[Remedy] = (), limit: int = 100, offset: int = 0
    ) -> Sequence[AffectedDomain]:
        """A page of the security domains below it. Raises as `count`."""
        with self._store.transaction() as tx:
            master = find_master(tx, name, generation)
            _check_compromised(master)
            return tx.compromises.list_affected(
                master.id, self._no_route, remedies=remedies, limit=limit, offset=offset
            )

    def _mark_master(self, name: str, generation: int, actor: str, why: str) -> MasterKey:
        with self._store.transaction() as tx:
            master = find_master(tx, name, generation)
            if master.state is KeyState.COMPROMISED:
                return master
            if master.state in (KeyState.PRE_ACTIVATION, KeyState.DESTROYED):
                raise KmsError(Code.KEY_STATE, f"The key is {master.state}: nothing is below it.")
            marked = replace(master, state=KeyState.COMPROMISED)
            tx.master_keys.save(marked)
            tx.audit.append(self._build_event(marked, actor, "master-key.compromise", "compromised", why))
        return marked

    def _mark_below(self, master: MasterKey, actor: str, progress: Progress) -> Marked:
        with self._store.transaction() as tx:
            use = tx.compromises.find_use(master.id)
        total = Marked("")
        while True:
            batch = until_claimed(partial(self._mark_batch, master, total.last, actor))
            if not batch.last:
                return total
            total = Marked(
                batch.last,
                total.domains + batch.domains,
                total.key_sets + batch.key_sets,
                total.visits + batch.visits,
                total.updates + batch.updates,
                total.transfers + batch.transfers,
            )
            progress(total.key_sets, max(use.live + use.planned + use.past, total.key_sets))

    def _mark_batch(self, master: MasterKey, after: str, actor: str) -> Marked:
        with self._store.transaction() as tx:
            batch = tx.compromises.mark(master.id, after=after, limit=BATCH, at=self._clock.now())
            if batch.last:
                what = f"{batch.key_sets} key sets of {batch.domains} security domains up to {batch.last}"
                more = f"{what}; {batch.visits} visits fenced, {batch.updates} updates cancelled"
                tx.audit.append(self._build_event(master, actor, "key-set.compromise", "compromised", more))
        return batch

    def _replace(self, master: MasterKey, actor: str, progress: Progress) -> Campaign | None:
        """Fill the campaign that brings new keys; one that ran before takes what was found since."""
        with self._store.transaction() as tx:
            name = f"compromise-{master.name}-{master.generation}"[:60]
            campaign = tx.campaigns.find_by_name(name)
            new = self._build(master, name, actor)
            expected = tx.campaigns.count_matching(campaign or new)
            if campaign is None:
                if not expected.added:
                    return None
                self._campaigns.add(tx, new)
                campaign = new
            elif campaign.state is CampaignState.DONE and expected.added:
                campaign = replace(campaign, state=CampaignState.RUNNING, cursor="", finished_at=None)
                tx.campaigns.save(campaign)
            elif campaign.state is CampaignState.RUNNING and expected.added:
                campaign = replace(campaign, cursor="")
                tx.campaigns.save(campaign)
            elif campaign.state is not CampaignState.FILLING:
                return campaign
        return self._campaigns.fill(campaign.id, expected=expected.matched, actor=actor, progress=progress)

    def _build(self, master: MasterKey, name: str, actor: str) -> Campaign:
        now = self._clock.now()
        return Campaign(
            id=self._identifiers.new(),
            name=name,
            reason=UpdateReason.COMPROMISE,
            state=CampaignState.FILLING,
            chosen=CampaignFilter(managed_by=self._platform, no_route=self._no_route),
            created_at=now,
            created_by=actor,
            released_until=now,
            master_id=master.id,
        )

    def _build_event(self, master: MasterKey, actor: str, action: str, result: str, why: str) -> AuditEvent:
        return AuditEvent(
            id=self._identifiers.new(),
            at=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"master-key {master.id}",
            result=result,
            kcv=build_kcv_text(master.kcv_method, [master.kcv]),
            detail=f"{master.name} generation {master.generation} ({master.kind}); {why}",
        )


def _check_compromised(master: MasterKey) -> None:
    if master.state is not KeyState.COMPROMISED:
        text = f"{master.name} generation {master.generation} is {master.state}, not COMPROMISED."
        raise KmsError(Code.KEY_STATE, text)
