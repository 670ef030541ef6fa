"""A year of a fleet of 200 cards with no hand on it: its holders come and go, jobs run, two scheduler nodes take turns.

The year is simulated, and drawn from a seed; services, jobs, lease and database are the real ones.
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kms.card.keys import DerivationPurpose
from kms.domain.keys import KeySet, KeyState
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service.housekeeping import UPDATES_OVERDUE
from tests.fleet.fleet import BEGIN, BROKEN, POLICY, Fleet, FleetCard, open_fleet

SEED = 20240101
CARDS = 200
ISSUING_DAYS = 56  # so long the cards go out, and so the ends of their keys are spread
DAYS = 365
HABITS = (15.0,) * 14 + (30.0,) * 5 + (110.0,)  # mean days between two presentations, dealt out in turn
LOST_EVERY = 40  # one card in so many is lost for good
SWEEP_HOURS = (5, 9, 15)  # the first is outside of the window
SLACK = timedelta(days=14)  # within which the caps let every due set have its turn


@dataclass(frozen=True)
class Life:
    """One key set of a card, and the expiry updates that were asked for it."""

    owner: FleetCard
    key_set: KeySet
    updates: tuple[KeyUpdate, ...]


def run_year(fleet: Fleet) -> dict[datetime, int]:
    """Let the time go by; returns how many overdue updates the alarm told of, day by day."""
    told: dict[datetime, int] = {}
    coming: list[tuple[datetime, int]] = []
    end = BEGIN + timedelta(days=DAYS)
    for day in range(DAYS):
        today = BEGIN + timedelta(days=day)
        if today.day == 1 or day == 0:
            change_node(fleet, today)
        moments = [(today + timedelta(hours=hour), -hour) for hour in SWEEP_HOURS]
        while coming and coming[0][0] < today + timedelta(days=1):
            moments.append(heapq.heappop(coming))
        for _ in range(CARDS * (day + 1) // ISSUING_DAYS - len(fleet.cards) if day < ISSUING_DAYS else 0):
            fleet.clock.time = today + timedelta(hours=1)
            issue(fleet, coming)
        for at, what in sorted(moments):
            fleet.clock.time = at
            if what < 0:
                run_jobs(fleet, told, -what)
            else:
                card = fleet.cards[what]
                fleet.present(card)
                come_again(fleet, card, coming, end)
    return told


def issue(fleet: Fleet, coming: list[tuple[datetime, int]]) -> None:
    number = len(fleet.cards)
    lost_on = BEGIN + timedelta(days=fleet.random.uniform(ISSUING_DAYS, 250)) if number % LOST_EVERY == 7 else None
    card = fleet.enrol(HABITS[number % len(HABITS)], lost_on)
    assert fleet.apply(card) == "done"
    come_again(fleet, card, coming, BEGIN + timedelta(days=DAYS))


def come_again(fleet: Fleet, card: FleetCard, coming: list[tuple[datetime, int]], end: datetime) -> None:
    at = fleet.clock.now() + timedelta(days=fleet.random.expovariate(1 / card.habit), minutes=20)
    if at < min(end, card.lost_on or end):
        heapq.heappush(coming, (at, card.number - 1))


def change_node(fleet: Fleet, today: datetime) -> None:
    """The other node schedules from here on; the one before can write nothing more."""
    after, before = fleet.nodes if today.month % 2 else reversed(fleet.nodes)
    before.keeper.release()
    assert after.keeper.keep()
    with pytest.raises(KmsError) as refused:
        before.sweeps.sweep_expiry()
    assert refused.value.code is Code.LEASE_LOST


def run_jobs(fleet: Fleet, told: dict[datetime, int], hour: int) -> None:
    node = next(node for node in fleet.nodes if node.keeper.fence is not None)
    if hour != SWEEP_HOURS[1]:
        # By night nothing may be asked for: once a week is enough to see that.
        if hour != SWEEP_HOURS[0] or fleet.clock.now().weekday() == 0:
            node.run("sweep-expiry")
        return
    node.run()
    with fleet.store.reading() as tx:
        alarms = [alarm for alarm in tx.alarms.list_open() if alarm.kind == UPDATES_OVERDUE]
        told[fleet.clock.now()] = int(alarms[0].text.split()[0]) if alarms else 0


def list_lives(fleet: Fleet) -> list[Life]:
    """Every operative key set that was ever in force, with the updates asked for while it was."""
    lives = []
    for owner in fleet.cards:
        key_sets, updates = fleet.list_history(owner)
        for key_set in key_sets:
            if key_set.purpose is not DerivationPurpose.SSD or key_set.proved_at is None:
                continue
            until = key_set.replaced_at or fleet.clock.now()
            mine = [item for item in updates if key_set.proved_at < item.requested_at <= until]
            lives.append(Life(owner, key_set, tuple(mine)))
    return lives


def find_turn(life: Life) -> datetime | None:
    """When the card was first there, whole visit, after its update was asked for."""
    if not life.updates:
        return None
    asked = life.updates[0].requested_at
    return next((at for at, said in life.owner.visited if at >= asked and said != BROKEN), None)


@pytest.mark.timeout(300)  # twenty seconds on a machine with nothing else to do
def test_a_year_with_no_hand_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_fleet(tmp_path, SEED) as fleet:
        told = run_year(fleet)
        lives = list_lives(fleet)
        now = fleet.clock.now()
        outcomes = check_lives(lives, now)
        check_cards(fleet)
        check_bounds(fleet, lives)
        check_reports(fleet, told)
        with capsys.disabled():
            print_summary(fleet, lives, outcomes, told)
    assert outcomes["replaced in time"] > CARDS
    assert outcomes["replaced within the grace"]
    assert outcomes["left to officers"]
    assert outcomes["not presented: overdue"]


def check_lives(lives: list[Life], now: datetime) -> Counter[str]:
    """Every key set met its end as the policy says; how many in which way."""
    outcomes: Counter[str] = Counter()
    for life in lives:
        outcomes[judge(life, now)] += 1
        # Asked for once, done once: nothing is asked for twice, whatever broke.
        assert len(life.updates) <= 1, life
        assert {item.reason for item in life.updates} <= {UpdateReason.EXPIRY}
    return outcomes


def judge(life: Life, now: datetime) -> str:
    key_set = life.key_set
    assert key_set.rotate_at is not None
    assert key_set.expires_at is not None
    turn, end = find_turn(life), key_set.expires_at
    if not life.updates:
        assert key_set.rotate_at > now - SLACK, life
        return "not due yet"
    (update,) = life.updates
    assert key_set.rotate_at <= update.requested_at <= key_set.rotate_at + SLACK
    assert update.requested_at < end
    assert update.deadline == end
    if key_set.replaced_at is not None:
        assert update.state is UpdateState.DONE
        # On the card at the first whole visit; where one broke off it was there before, and is proved by the next.
        changed_at = life.owner.changed_at[key_set.generation]
        assert turn is not None
        assert changed_at <= key_set.replaced_at <= turn
        assert changed_at < end + timedelta(days=POLICY.grace_days)
        return "replaced in time" if changed_at < end else "replaced within the grace"
    assert key_set.state is KeyState.ACTIVE
    assert update.state in OPEN_STATES
    if turn is not None:
        assert turn >= end + timedelta(days=POLICY.grace_days), life
        return "left to officers"
    return "not presented: overdue" if end <= now else "waits for its card"


def check_cards(fleet: Fleet) -> None:
    """By the cards themselves: each new key once, and the platform knows which ones are on it."""
    for card in fleet.cards:
        key_sets, updates = fleet.list_history(card)
        done = [item for item in updates if item.state is UpdateState.DONE]
        assert len(set(card.values)) == len(card.values)
        if card.visited and card.visited[-1][1] == BROKEN:  # in doubt until the card comes again
            assert len(card.values) - len(done) in {0, 1}
            continue
        assert len(card.values) == len(done)
        in_force = [item.kvn for item in key_sets if item.state is KeyState.ACTIVE and item.replaced_at is None]
        assert card.kvns == in_force
        assert max(item.generation for item in key_sets if item.proved_at is not None) == len(done)


def check_bounds(fleet: Fleet, lives: list[Life]) -> None:
    """Caps, working window and jitter."""
    asked = [item.requested_at for life in lives for item in life.updates]
    assert all(at in POLICY.window for at in asked)
    assert max(Counter(at.date() for at in asked).values()) == POLICY.max_per_day
    assert max(created for _at, created, _held in fleet.runs) == POLICY.max_per_run
    assert all(created == 0 for at, created, _held in fleet.runs if at not in POLICY.window)
    assert any(held for at, _created, held in fleet.runs if at in POLICY.window)
    early: Counter[int] = Counter()
    for life in lives:
        assert life.key_set.expires_at is not None
        assert life.key_set.rotate_at is not None
        before = life.key_set.expires_at - timedelta(days=POLICY.lead_days) - life.key_set.rotate_at
        assert timedelta(0) <= before < timedelta(days=POLICY.jitter_days)
        early[before.days] += 1
    assert min(early[day] for day in range(POLICY.jitter_days)) > len(lives) / POLICY.jitter_days / 2


def check_reports(fleet: Fleet, told: dict[datetime, int]) -> None:
    """On each day the alarm told of as many overdue updates as there were; notices went out once for each set."""
    updates = [item for card in fleet.cards for item in fleet.list_history(card)[1] if item.deadline is not None]
    for at, count in told.items():
        overdue = [
            item
            for item in updates
            if item.requested_at <= at
            and item.deadline
            and item.deadline <= at < (item.finished_at or fleet.clock.now())
        ]
        assert count == len(overdue), at
    assert set(fleet.notices) == set(POLICY.notice_days)
    assert fleet.notices[1] <= fleet.notices[7] <= fleet.notices[14]


def print_summary(fleet: Fleet, lives: list[Life], outcomes: Counter[str], told: dict[datetime, int]) -> None:
    kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(Counter(c.kind for c in fleet.cards).items()))
    done = sum(item.key_set.replaced_at is not None for item in lives)
    print(f"\n\nA simulated year, seed {SEED}: {len(fleet.cards)} cards ({kinds}), {DAYS} days")
    print(f"  visits {sum(len(card.visited) for card in fleet.cards)}, of them broken off {fleet.broken}")
    print(f"  key sets {len(lives)}, rotations {done}, twice 0, failed 0")
    for name, count in outcomes.most_common():
        print(f"    {count:5} {name}")
    print(f"  sweeps {len(fleet.runs)}, cut off by a cap or the window {sum(bool(held) for *_, held in fleet.runs)}")
    notices = ", ".join(f"{count} at {days} days" for days, count in sorted(fleet.notices.items(), reverse=True))
    print(f"  notices: {notices}; most overdue on one day: {max(told.values())}")
