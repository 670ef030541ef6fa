"""Campaigns: making, running, stopping and telling of them; visits carry the updates out.

Rules: a campaign is filled in bounded batches, a transaction each, and serves nothing before it is whole; filling that
was cut off is taken up where it stopped. Its circuit breaker is looked at whenever one of its updates fails, and by the
scheduler. Who is owed an update already gets none: it is counted as matched and not added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.card.keys import KeyType
from kms.domain.alarms import AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.campaigns import (
    CAMPAIGN_REASONS,
    MAX_NAME,
    Campaign,
    CampaignCounts,
    CampaignFilter,
    CampaignState,
    Filled,
    check_filter,
    find_release,
    judge_campaign,
    move_campaign,
    project_end,
    start_again,
)
from kms.domain.compromises import MasterUse
from kms.domain.keys import MasterKey, MasterKind
from kms.domain.updates import UpdateReason
from kms.errors import Code, KmsError
from kms.service.alarms import raise_alarm
from kms.service.key_ends import check_issuing
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal
from kms.service.visits import until_claimed

BATCH = 2000  # updates a transaction: a second of SQLite's write lock at the most
STOPPED = "campaign.stopped"
ACTOR = "scheduler"
LEFTOVERS = timedelta(days=30)  # how long visits may give back what they had begun of a cancelled campaign
CUT_OFF = timedelta(minutes=10)  # so old, a campaign that is still being filled is taken for left alone
KINDS = {
    MasterKind.ISD: MasterKind.ISD,
    MasterKind.SSD: MasterKind.SSD,
    MasterKind.VENDOR: MasterKind.ISD,  # a vendor's keys are replaced by the issuer's own
}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NewCampaign:
    """What is asked for. `master`, `generation`: whose key sets are replaced, for a rotation. See `Campaign`."""

    name: str
    reason: UpdateReason
    chosen: CampaignFilter
    master: str | None = None
    generation: int | None = None
    key_type: KeyType | None = None
    deadline: datetime | None = None
    per_day: int | None = None
    max_failures: int | None = None
    max_percent: int | None = 20
    percent_minimum: int = 20


@dataclass(frozen=True)
class CampaignReport:
    """How a campaign stands. `projected_end`: at the pace so far. `use`: what still hangs on the master it is about."""

    campaign: Campaign
    counts: CampaignCounts
    projected_end: datetime | None
    overdue: bool
    master: MasterKey | None = None
    use: MasterUse | None = None


class CampaignService:
    """The use cases of campaigns. `platform`: whose security domains they are about."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, platform: str) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._platform = platform

    def count(self, asked: NewCampaign, *, actor: str) -> Filled:
        """Count what a campaign would be about; writes nothing. Raises as `create`."""
        with self._store.transaction() as tx:
            return tx.campaigns.count_matching(self._build(tx, asked, actor))

    def create(self, asked: NewCampaign, *, actor: str, progress: Progress = lambda _done, _of: None) -> Campaign:
        """Make a campaign and fill it; it runs once it is whole.

        Raises `input.invalid`, `input.conflict` (the name is taken; the master's newest generation is the one to be
        replaced), `input.not-found` (no such master; nothing fits the filter), `key.state`, `key.expired` (the master
        that would issue the new sets).
        """
        with self._store.transaction() as tx:
            check_normal(tx, "Campaigns")
            campaign = self._build(tx, asked, actor)
            if tx.campaigns.find_by_name(campaign.name) is not None:
                raise KmsError(Code.CONFLICT, f"A campaign named {campaign.name!r} exists: `kms campaigns list`.")
            expected = tx.campaigns.count_matching(campaign)
            if not expected.matched:
                raise KmsError(Code.NOT_FOUND, "No security domain that holds keys fits this filter.")
            self.add(tx, campaign)
        return self.fill(campaign.id, expected=expected.matched, actor=actor, progress=progress)

    def add(self, tx: Transaction, campaign: Campaign) -> None:
        """Write a new campaign that is still to be filled."""
        tx.campaigns.add(campaign)
        tx.audit.append(self._build_event(campaign, campaign.created_by, "campaign.create", str(campaign.state)))

    def fill(self, campaign_id: str, *, expected: int, actor: str, progress: Progress) -> Campaign:
        """Go on with filling from where it stands; the campaign runs afterwards."""
        while True:
            campaign, more = until_claimed(lambda: self._fill_batch(campaign_id, actor))
            progress(campaign.matched, max(expected, campaign.matched))
            if not more:
                return campaign

    def _fill_batch(self, campaign_id: str, actor: str) -> tuple[Campaign, bool]:
        with self._store.transaction() as tx:
            campaign = tx.campaigns.get(campaign_id)
            if campaign.state not in (CampaignState.FILLING, CampaignState.RUNNING):
                raise KmsError(Code.CONFLICT, f"The campaign {campaign.name!r} is {campaign.state}: it takes no more.")
            now = self._clock.now()
            due_at, left = find_release(campaign, campaign.added)
            filled = tx.campaigns.fill(campaign, due_at=due_at, limit=min(BATCH, left or BATCH), at=now)
            campaign = replace(
                campaign,
                cursor=filled.last or campaign.cursor,
                matched=campaign.matched + filled.matched,
                added=campaign.added + filled.added,
            )
            if not filled.last:
                if campaign.state is CampaignState.FILLING:
                    campaign = replace(move_campaign(campaign, CampaignState.RUNNING, now), released_until=now)
                result = f"{campaign.added} updates for {campaign.matched} security domains"
                tx.audit.append(self._build_event(campaign, actor, "campaign.start", str(campaign.state), result))
            tx.campaigns.save(campaign)
        return campaign, bool(filled.last)

    def list(self, states: Sequence[CampaignState] = tuple(CampaignState)) -> Sequence[Campaign]:
        """The campaigns in these states, oldest first."""
        with self._store.transaction() as tx:
            return tx.campaigns.list_in(states)

    def pause(self, name: str, *, actor: str, why: str = "") -> Campaign:
        """Serve no card any more until it is resumed. Raises `input.not-found`, `input.conflict`."""
        return self._move(name, CampaignState.PAUSED, actor, why)

    def resume(self, name: str, *, actor: str, progress: Progress = lambda _done, _of: None) -> Campaign:
        """Go on: with serving cards, or with filling that was cut off. What failed so far counts no more.

        Raises `input.not-found`, `input.conflict`.
        """
        with self._store.transaction() as tx:
            check_normal(tx, "Campaigns")
            campaign = _get(tx, name)
            filling = campaign.state is CampaignState.FILLING
            if not filling:
                campaign = start_again(campaign, self._count(tx, campaign), self._clock.now())
                tx.campaigns.save(campaign)
                tx.alarms.clear(STOPPED, f"campaign {campaign.name}", self._clock.now())
                tx.audit.append(self._build_event(campaign, actor, "campaign.resume", str(campaign.state)))
        return self.fill(campaign.id, expected=0, actor=actor, progress=progress) if filling else campaign

    def cancel(self, name: str, *, actor: str, why: str, progress: Progress = lambda _done, _of: None) -> Campaign:
        """Cancel what no visit has begun; what a visit began may end. Raises `input.not-found`, `input.conflict`."""
        campaign = self._move(name, CampaignState.CANCELLED, actor, why)
        self._cancel_pending(campaign, progress)
        return campaign

    def report(self, name: str) -> CampaignReport:
        """Tell how a campaign stands, after its breaker and its end were looked at. Raises `input.not-found`."""
        with self._store.transaction() as tx:
            campaign_id = _get(tx, name).id
        self.judge(campaign_id)
        with self._store.transaction() as tx:
            campaign = tx.campaigns.get(campaign_id)
            counts = self._count(tx, campaign)
            master = tx.master_keys.find(campaign.master_id) if campaign.master_id else None
            use = tx.compromises.find_use(master.id) if master is not None else None
        now = self._clock.now()
        late = campaign.deadline is not None and bool(counts.open) and campaign.deadline <= now
        return CampaignReport(campaign, counts, project_end(campaign, counts, now), late, master, use)

    def judge(self, campaign_id: str) -> Campaign:
        """Stop a campaign whose failures pass its bound, end one that is done, release what is due."""
        return until_claimed(lambda: self._judge(campaign_id))

    def tend(self) -> str:
        """The scheduler's part: fill what was left halfway, judge what runs, cancel what came back of cancelled ones.

        Filling may go on elsewhere after all: two who fill the same campaign take its batches in turns. Raises
        `platform.recovery` where one is to be filled meanwhile.
        """
        now = self._clock.now()
        left = [item for item in self.list((CampaignState.FILLING,)) if item.created_at <= now - CUT_OFF]
        for item in left:
            with self._store.transaction() as tx:
                check_normal(tx, "Campaigns")
            self.fill(item.id, expected=0, actor=ACTOR, progress=lambda _done, _of: None)
        running = [self.judge(item.id) for item in self.list((CampaignState.RUNNING,))]
        changed = sum(item.state is not CampaignState.RUNNING for item in running)
        cancelled = [
            item
            for item in self.list((CampaignState.CANCELLED,))
            if item.finished_at is not None and item.finished_at > now - LEFTOVERS
        ]
        late = sum(self._cancel_pending(item, lambda _done, _of: None) for item in cancelled)
        filled = f"{len(left)} filled, " if left else ""
        return f"{filled}{len(running)} running, {changed} stopped or done, {late} late updates cancelled"

    def _judge(self, campaign_id: str) -> Campaign:
        with self._store.transaction() as tx:
            campaign = tx.campaigns.get(campaign_id)
            now = self._clock.now()
            if campaign.state is not CampaignState.RUNNING:
                return campaign
            judged = judge_campaign(campaign, self._count(tx, campaign), now)
            if judged.state is campaign.state and campaign.per_day is None:
                return campaign
            tx.campaigns.save(judged)
            if judged.state is not campaign.state:
                action = "campaign.stop" if judged.state is CampaignState.STOPPED else "campaign.end"
                tx.audit.append(self._build_event(judged, "breaker", action, str(judged.state), judged.state_reason))
            if judged.state is CampaignState.STOPPED:
                text = f"{judged.state_reason}: find out why, then `kms campaigns resume` or `cancel`"
                raise_alarm(
                    tx,
                    STOPPED,
                    f"campaign {judged.name}",
                    text,
                    AlarmSeverity.CRITICAL,
                    alarm_id=self._identifiers.new(),
                    at=now,
                )
        return judged

    def _move(self, name: str, to: CampaignState, actor: str, why: str) -> Campaign:
        with self._store.transaction() as tx:
            campaign = move_campaign(_get(tx, name), to, self._clock.now(), why)
            tx.campaigns.save(campaign)
            tx.alarms.clear(STOPPED, f"campaign {campaign.name}", self._clock.now())
            action = "campaign.pause" if to is CampaignState.PAUSED else "campaign.cancel"
            tx.audit.append(self._build_event(campaign, actor, action, str(to), why))
        return campaign

    def _cancel_pending(self, campaign: Campaign, progress: Progress) -> int:
        done = 0
        while True:
            with self._store.transaction() as tx:
                why = f"the campaign {campaign.name} was cancelled"
                count = tx.campaigns.cancel_pending(campaign.id, at=self._clock.now(), why=why, limit=BATCH)
            done += count
            progress(done, max(campaign.added, done))
            if count < BATCH:
                return done

    def _count(self, tx: Transaction, campaign: Campaign) -> CampaignCounts:
        return tx.campaigns.count_updates(campaign.id, self._clock.now())

    def _build(self, tx: Transaction, asked: NewCampaign, actor: str) -> Campaign:
        _check_asked(asked)
        now = self._clock.now()
        if asked.deadline is not None and asked.deadline <= now:
            raise KmsError(Code.INPUT_INVALID, "The deadline is over already.")
        chosen = replace(asked.chosen, managed_by=asked.chosen.managed_by or self._platform)
        if asked.master is not None:
            master = find_master(tx, asked.master, asked.generation)
            chosen = replace(chosen, master_id=master.id)
            if asked.reason is UpdateReason.MASTER_ROTATION:
                _check_successor(tx, master, now)
        check_filter(chosen)
        return Campaign(
            id=self._identifiers.new(),
            name=asked.name,
            reason=asked.reason,
            state=CampaignState.FILLING,
            chosen=chosen,
            created_at=now,
            created_by=actor,
            released_until=now,
            deadline=asked.deadline,
            per_day=asked.per_day,
            key_type=asked.key_type,
            master_id=chosen.master_id,
            max_failures=asked.max_failures,
            max_percent=asked.max_percent,
            percent_minimum=asked.percent_minimum,
        )

    def _build_event(self, campaign: Campaign, actor: str, action: str, result: str, detail: str = "") -> AuditEvent:
        what = f"{campaign.name} ({campaign.reason}); {detail}" if detail else f"{campaign.name} ({campaign.reason})"
        subject = f"campaign {campaign.id}"
        return AuditEvent(self._identifiers.new(), self._clock.now(), actor, action, subject, result, "", what)


def find_master(tx: Transaction, name: str, generation: int | None) -> MasterKey:
    """A master by name and generation, None: the newest. Raises `input.not-found`."""
    if generation is None:
        found = tx.master_keys.find_by_name(name)
    else:
        found = tx.master_keys.find_generation(name, generation)
    if found is None:
        which = "" if generation is None else f" of generation {generation}"
        raise KmsError(Code.NOT_FOUND, f"There is no master key named {name!r}{which}: `kms keys list`.")
    return found


def _check_asked(asked: NewCampaign) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not 1 <= len(asked.name) <= MAX_NAME or not set(asked.name) <= allowed:
        text = f"A campaign's name has 1 to {MAX_NAME} lower-case letters, digits and hyphens."
        raise KmsError(Code.INPUT_INVALID, text)
    if asked.reason not in CAMPAIGN_REASONS - {UpdateReason.COMPROMISE}:
        text = "A campaign's reason is forced, master-rotation or key-type; a compromise has `kms keys compromise`."
        raise KmsError(Code.INPUT_INVALID, text)
    if asked.reason is UpdateReason.MASTER_ROTATION and (asked.master is None or asked.generation is None):
        raise KmsError(Code.INPUT_INVALID, "A master's rotation names the master and the generation to be replaced.")
    if (asked.key_type is not None) is not (asked.reason is UpdateReason.KEY_TYPE):
        raise KmsError(Code.INPUT_INVALID, "A new key type and the reason key-type go together.")


def _check_successor(tx: Transaction, master: MasterKey, now: datetime) -> None:
    """Raise unless another master issues what replaces the sets of this one."""
    kind = KINDS.get(master.kind)
    if kind is None:
        raise KmsError(Code.INPUT_INVALID, f"A {master.kind} key has no key sets that a campaign replaces.")
    successor = tx.master_keys.find_active(kind)
    if successor is None or successor.id == master.id:
        text = f"{master.name} generation {master.generation} is the newest: make its successor first"
        raise KmsError(Code.CONFLICT, f"{text} (`kms keys generate --new-generation`).")
    check_issuing(successor, now)


def _get(tx: Transaction, name: str) -> Campaign:
    campaign = tx.campaigns.find_by_name(name)
    if campaign is None:
        raise KmsError(Code.NOT_FOUND, f"There is no campaign named {name!r}: `kms campaigns list`.")
    return campaign
