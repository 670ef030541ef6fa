"""A part of the fault campaign: after each fault the next visit brings the card to a proven state, without a person.

The part is drawn with a seed (KMS_FAULT_SEED), every fault at every kind of boundary once; `make fault-test` runs it
all. A run that found nothing wrong with a card that is wrong would be worth nothing, so that is tried, too.
"""

import os
import time
from collections.abc import Iterator

import pytest

from terminal.virtual_card.card import VirtualCard
from tests.faults.campaign import SQLITE, Bench, plan_sample
from tests.faults.points import FAULTS, Kind
from tests.faults.programs import MAIN
from tests.faults.report import Report

SEED = int(os.environ.get("KMS_FAULT_SEED", "20261"))
EXTRA = 16  # points besides one of each fault at each kind of boundary

pytestmark = pytest.mark.filterwarnings(
    # python-pkcs11 ends a search when its iterator is collected; where the token is gone by then nobody can catch it.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.mark.timeout(1200)  # of a machine that does much else; by itself it takes about 20 s
def test_no_fault_leaves_a_card_that_needs_a_person(bench: Bench, summary: list[str]) -> None:
    begun = time.monotonic()
    done = bench.run(plan_sample(bench, SEED, EXTRA))
    report = Report(done, time.monotonic() - begun, SEED)
    kinds = {kind: sum(result.point.boundary.kind is kind for result in report.counted) for kind in Kind}
    summary += report.build_summary()
    run = ", ".join(f"{count} at {kind}s" for kind, count in kinds.items())
    summary.append(f"run: {run}; all of them: make fault-test")
    assert {(r.point.boundary.kind, r.point.fault) for r in report.counted} == {
        (kind, fault) for kind, faults in FAULTS.items() for fault in faults
    }
    assert report.bad == []
    assert report.most_visits <= 1


def test_every_program_of_the_campaign_has_its_boundaries(bench: Bench) -> None:
    for program in MAIN:
        points = bench.list_all(program)
        assert len(points) == len(set(points))
        assert {point.boundary.kind for point in points} == set(Kind)
        assert any("PUT KEY" in point.boundary.name for point in points)


def test_a_card_that_is_not_in_step_is_noticed(bench: Bench) -> None:
    prepared = bench.prepare(MAIN[0], SQLITE)
    world = prepared.begin()
    world.present()
    assert prepared.find_wrong(world) == []
    world.card = VirtualCard(prepared.state)  # it has lost what it was given
    assert any("key versions on the card" in text for text in prepared.find_wrong(world))


def test_keys_put_twice_are_noticed(bench: Bench) -> None:
    prepared = bench.prepare(MAIN[0], SQLITE)
    world = prepared.begin()
    world.present()
    world.key_changes += 1
    assert any("done twice" in text for text in prepared.find_wrong(world))


def test_an_update_that_is_not_done_is_noticed(bench: Bench) -> None:
    prepared = bench.prepare(MAIN[0], SQLITE)
    assert any("is PENDING" in text for text in prepared.find_wrong(prepared.begin()))
