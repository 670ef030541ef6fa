"""Campaigns: many key updates with one reason, over cards that show up when they like.

Rules: a campaign is filled first and serves nothing until it is whole; PAUSED, STOPPED and CANCELLED ones serve no card
(what a visit already began may end). The circuit breaker counts what failed since the campaign was last started; it
stops, and only people start again. A deadline ends nothing: past it the campaign is overdue, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from kms.card.keys import KeyType
from kms.domain.cards import DomainKind
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState
from kms.errors import Code, KmsError

MAX_IDENTITIES = 10_000  # of a filter's list of cards; more are selected by profile, range or master
MAX_NAME = 60
CAMPAIGN_REASONS = frozenset(
    {UpdateReason.FORCED, UpdateReason.COMPROMISE, UpdateReason.MASTER_ROTATION, UpdateReason.KEY_TYPE}
)


class CampaignState(StrEnum):
    """FILLING -> RUNNING <-> PAUSED, STOPPED (by the breaker) -> RUNNING by people; DONE and CANCELLED are final."""

    FILLING = "FILLING"  # its updates are being written; none is served yet
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"
    DONE = "DONE"


FINAL_STATES = frozenset({CampaignState.CANCELLED, CampaignState.DONE})
_MOVES = {
    CampaignState.FILLING: {CampaignState.RUNNING, CampaignState.CANCELLED},
    CampaignState.RUNNING: {
        CampaignState.PAUSED,
        CampaignState.STOPPED,
        CampaignState.CANCELLED,
        CampaignState.DONE,
    },
    CampaignState.PAUSED: {CampaignState.RUNNING, CampaignState.CANCELLED},
    CampaignState.STOPPED: {CampaignState.RUNNING, CampaignState.CANCELLED},
    CampaignState.CANCELLED: set[CampaignState](),
    CampaignState.DONE: set[CampaignState](),
}


@dataclass(frozen=True)
class CampaignFilter:
    """Which security domains; every condition that is given must hold. All must hold keys of this platform.

    `first_identity`, `last_identity`: a range of card identities, both inclusive, compared as bytes. `aid_prefix`: the
    first bytes of the AID. `master_id`: what the key set in force is derived from. `key_type`: of that set.
    `expired_by`: that set's end is not later. `no_route`: profiles of cards whose compromised keys only people replace
    (PUT KEY reaches no security domain that has keys of its own).
    """

    kind: DomainKind | None = None
    profile: str | None = None
    batch: str | None = None
    first_identity: bytes | None = None
    last_identity: bytes | None = None
    identities: tuple[bytes, ...] = field(default=(), repr=False)
    aid_prefix: bytes | None = None
    managed_by: str | None = None
    master_id: str | None = None
    key_type: KeyType | None = None
    expired_by: datetime | None = None
    no_route: tuple[str, ...] = ()


def check_filter(chosen: CampaignFilter) -> None:
    """Raise `input.invalid` for a filter that nothing can fit, or that is too long."""
    first, last = chosen.first_identity, chosen.last_identity
    if first is not None and last is not None and first > last:
        raise KmsError(Code.INPUT_INVALID, "The range of identities ends before it begins.")
    if len(chosen.identities) > MAX_IDENTITIES:
        text = f"A list of cards has at most {MAX_IDENTITIES} identities; select more by profile, range or master."
        raise KmsError(Code.INPUT_INVALID, text)


@dataclass(frozen=True)
class Campaign:
    """Many updates with one reason. `cursor`: the last security domain that filling came to; empty: none yet.

    `matched`: security domains that fitted the filter; `added`: those that got an update of this campaign (the others
    had an open one). `per_day`: updates released a day, None: all at once; `released_until`: those due by then are
    served. `failed_before`, `finished_before`: counted when it was last started. `master_id`: what a rotation or a
    compromise is about. `max_failures`, `max_percent`: when the circuit breaker stops, the latter once
    `percent_minimum` updates are finished.
    """

    id: str
    name: str
    reason: UpdateReason
    state: CampaignState
    chosen: CampaignFilter
    created_at: datetime
    created_by: str
    released_until: datetime
    deadline: datetime | None = None
    per_day: int | None = None
    key_type: KeyType | None = None
    master_id: str | None = None
    max_failures: int | None = None
    max_percent: int | None = None
    percent_minimum: int = 20
    cursor: str = ""
    matched: int = 0
    added: int = 0
    failed_before: int = 0
    finished_before: int = 0
    state_reason: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more can become of it."""
        return self.state in FINAL_STATES


def find_breach(campaign: Campaign, failed: int, finished: int) -> str | None:
    """Why the circuit breaker stops a campaign, None while it may go on. `finished`: done and failed."""
    bound, percent = campaign.max_failures, campaign.max_percent
    if bound is not None and failed >= bound:
        return f"{failed} updates failed; the bound is {bound}"
    reached = finished >= max(1, campaign.percent_minimum)
    if percent is not None and failed and reached and failed * 100 >= percent * finished:
        return f"{failed} of {finished} updates failed; the bound is {percent} percent"
    return None


def move_campaign(campaign: Campaign, to: CampaignState, at: datetime, why: str = "") -> Campaign:
    """The campaign in another state. Raises `input.conflict` where its state does not lead there."""
    if to not in _MOVES[campaign.state]:
        raise KmsError(Code.CONFLICT, f"The campaign {campaign.name!r} is {campaign.state}; it cannot become {to}.")
    started_at = campaign.started_at or (at if to is CampaignState.RUNNING else None)
    finished_at = at if to in FINAL_STATES else None
    return replace(campaign, state=to, state_reason=why, started_at=started_at, finished_at=finished_at)


@dataclass(frozen=True)
class Filled:
    """One batch of filling, or a count of all. `last`: the security domain it came to, empty when none was left."""

    last: str
    matched: int
    added: int


@dataclass(frozen=True)
class CampaignCounts:
    """What became of a campaign's updates so far. `oldest_open`: when the oldest open one was asked for."""

    by_state: Mapping[UpdateState, int]
    oldest_open: datetime | None = None
    last_activity: datetime | None = None
    overdue: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_state.values())

    @property
    def open(self) -> int:
        """Those that wait for their card, or are being done."""
        return sum(self.by_state.get(state, 0) for state in OPEN_STATES)

    @property
    def done(self) -> int:
        """New keys proved."""
        return self.by_state.get(UpdateState.DONE, 0)

    @property
    def failed(self) -> int:
        """Given up after the last attempt."""
        return self.by_state.get(UpdateState.FAILED, 0)


def judge_campaign(campaign: Campaign, counts: CampaignCounts, now: datetime) -> Campaign:
    """A running campaign after what happened meanwhile: stopped by its breaker, done, or with more released."""
    if campaign.state is not CampaignState.RUNNING:
        return campaign
    failed = counts.failed - campaign.failed_before
    finished = counts.done + counts.failed - campaign.finished_before
    breach = find_breach(campaign, failed, finished)
    if breach is not None and counts.open:
        return move_campaign(campaign, CampaignState.STOPPED, now, breach)
    if not counts.open:
        return move_campaign(campaign, CampaignState.DONE, now, breach or "")
    return replace(campaign, released_until=max(now, campaign.released_until))


def start_again(campaign: Campaign, counts: CampaignCounts, at: datetime) -> Campaign:
    """A paused or stopped campaign that goes on; what failed so far counts no more. Raises `input.conflict`."""
    running = move_campaign(campaign, CampaignState.RUNNING, at)
    return replace(running, failed_before=counts.failed, finished_before=counts.done + counts.failed, released_until=at)


def find_release(campaign: Campaign, number: int) -> tuple[datetime, int]:
    """When the update with this number (from 0) is due, and how many from it on are due then (0: all)."""
    if campaign.per_day is None:
        return campaign.created_at, 0
    day, within = divmod(number, campaign.per_day)
    return campaign.created_at + timedelta(days=day), campaign.per_day - within


def project_end(campaign: Campaign, counts: CampaignCounts, now: datetime) -> datetime | None:
    """When the open updates will be done at the pace so far; None where no pace can be told.

    The pace is that of all days since the start: cards that show up rarely come later than this says.
    """
    if campaign.started_at is None or not counts.open or not counts.done or now <= campaign.started_at:
        return None
    try:
        return now + (now - campaign.started_at) * (counts.open / counts.done)
    except OverflowError:
        return None
