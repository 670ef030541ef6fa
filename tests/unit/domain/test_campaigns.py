from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kms.domain.campaigns import (
    FINAL_STATES,
    MAX_IDENTITIES,
    Campaign,
    CampaignCounts,
    CampaignFilter,
    CampaignState,
    check_filter,
    find_breach,
    find_release,
    judge_campaign,
    move_campaign,
    project_end,
    start_again,
)
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from tests.fakes.records import NOW, build_id

DAY = timedelta(days=1)


def build_campaign(**changes: Any) -> Campaign:  # noqa: ANN401 - any field of the record
    campaign = Campaign(
        id=build_id(1),
        name="spring-clean",
        reason=UpdateReason.FORCED,
        state=CampaignState.RUNNING,
        chosen=CampaignFilter(),
        created_at=NOW,
        created_by="cli:operator",
        released_until=NOW,
        started_at=NOW,
    )
    return replace(campaign, **changes)


def counts(done: int = 0, failed: int = 0, waiting: int = 1) -> CampaignCounts:
    by_state = {UpdateState.DONE: done, UpdateState.FAILED: failed, UpdateState.PENDING: waiting}
    return CampaignCounts({state: number for state, number in by_state.items() if number})


@pytest.mark.parametrize(
    ("bounds", "failed", "finished", "stops"),
    [
        ({}, 1000, 1000, False),
        ({"max_failures": 3}, 2, 2, False),
        ({"max_failures": 3}, 3, 300, True),
        ({"max_percent": 10, "percent_minimum": 20}, 19, 19, False),
        ({"max_percent": 10, "percent_minimum": 20}, 2, 20, True),
        ({"max_percent": 10, "percent_minimum": 20}, 1, 20, False),
        ({"max_percent": 10, "percent_minimum": 1}, 0, 20, False),
    ],
)
def test_the_breaker_stops_at_its_bound(bounds: dict[str, int], failed: int, finished: int, stops: bool) -> None:
    breach = find_breach(build_campaign(**bounds), failed, finished)
    assert (breach is not None) is stops
    if breach:
        assert f"{failed}" in breach


def test_a_stopped_campaign_counts_anew_once_people_start_it_again() -> None:
    campaign = build_campaign(max_failures=2)
    stopped = judge_campaign(campaign, counts(failed=2), NOW + DAY)
    assert (stopped.state, stopped.finished_at) == (CampaignState.STOPPED, None)
    assert stopped.state_reason
    again = start_again(stopped, counts(done=1, failed=2), NOW + 2 * DAY)
    assert (again.state, again.released_until) == (CampaignState.RUNNING, NOW + 2 * DAY)
    assert judge_campaign(again, counts(done=1, failed=3), NOW + 2 * DAY).state is CampaignState.RUNNING
    assert judge_campaign(again, counts(done=1, failed=4), NOW + 2 * DAY).state is CampaignState.STOPPED


def test_a_campaign_is_done_when_nothing_is_open() -> None:
    done = judge_campaign(build_campaign(), counts(done=5, waiting=0), NOW + DAY)
    assert (done.state, done.finished_at) == (CampaignState.DONE, NOW + DAY)
    assert done.is_final
    assert judge_campaign(build_campaign(), counts(done=5), NOW).state is CampaignState.RUNNING


@pytest.mark.parametrize("state", [item for item in CampaignState if item is not CampaignState.RUNNING])
def test_only_a_running_one_is_judged(state: CampaignState) -> None:
    campaign = build_campaign(state=state, max_failures=1)
    assert judge_campaign(campaign, counts(failed=9), NOW + DAY) == campaign


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("to", list(CampaignState))
def test_nothing_becomes_of_a_final_one(state: CampaignState, to: CampaignState) -> None:
    with pytest.raises(KmsError) as error:
        move_campaign(build_campaign(state=state), to, NOW)
    assert error.value.code is Code.CONFLICT


def test_the_first_start_is_kept_and_the_reason_goes_with_the_state() -> None:
    campaign = build_campaign(state=CampaignState.FILLING, started_at=None)
    running = move_campaign(campaign, CampaignState.RUNNING, NOW)
    paused = move_campaign(running, CampaignState.PAUSED, NOW + DAY, "holidays")
    assert (paused.started_at, paused.state_reason) == (NOW, "holidays")
    assert start_again(paused, counts(), NOW + 2 * DAY).state_reason == ""
    assert move_campaign(paused, CampaignState.CANCELLED, NOW + DAY).finished_at == NOW + DAY
    with pytest.raises(KmsError):
        start_again(running, counts(), NOW)


def test_updates_are_released_a_day_at_a_time() -> None:
    campaign = build_campaign(per_day=3)
    assert [find_release(campaign, number) for number in (0, 2, 3, 7)] == [
        (NOW, 3),
        (NOW, 1),
        (NOW + DAY, 3),
        (NOW + 2 * DAY, 2),
    ]
    assert find_release(build_campaign(), 9) == (NOW, 0)
    later = judge_campaign(campaign, counts(), NOW + DAY)
    assert later.released_until == NOW + DAY
    assert judge_campaign(later, counts(), NOW).released_until == NOW + DAY  # a clock set back takes nothing back


def test_the_projected_end_follows_the_pace_so_far() -> None:
    campaign = build_campaign()
    assert project_end(campaign, counts(done=10, waiting=5), NOW + 2 * DAY) == NOW + 3 * DAY
    assert project_end(campaign, counts(done=0, waiting=5), NOW + 2 * DAY) is None
    assert project_end(campaign, counts(done=5, waiting=0), NOW + 2 * DAY) is None
    assert project_end(campaign, counts(done=5), NOW) is None
    assert project_end(build_campaign(started_at=None), counts(done=5), NOW + DAY) is None
    assert project_end(campaign, counts(done=1, waiting=10**9), NOW + 30 * DAY) is None


def test_a_filter_that_fits_nothing_or_is_too_long_is_refused() -> None:
    check_filter(CampaignFilter(first_identity=b"\x01", last_identity=b"\x01"))
    for wrong in (
        CampaignFilter(first_identity=b"\x02", last_identity=b"\x01"),
        CampaignFilter(identities=(b"\x01",) * (MAX_IDENTITIES + 1)),
    ):
        with pytest.raises(KmsError) as error:
            check_filter(wrong)
        assert error.value.code is Code.INPUT_INVALID
