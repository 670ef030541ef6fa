"""A card survives whatever is cut at any boundary of a visit: a few visits later it is in a proven state, unaided.

The list of boundaries is `tests/fakes/boundaries.py`'s, walked program by program. By default a part of it is walked,
drawn with a fixed seed and spread over all kinds of faults; KMS_BOUNDARIES=all walks all of it.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.boundaries import FAULTS, Cut, Scenario, build_scenarios, cut_at, list_boundaries, prepare

WALK_ALL = os.environ.get("KMS_BOUNDARIES") == "all"
SAMPLE = 6  # boundaries of a scenario, besides those whose kind of fault would be left out
PAIRS = 20 if WALK_ALL else 2
SEED = 20260
OPTIONS = (0x15, 0x35, 0x55, 0x75) if WALK_ALL else (0x15, 0x55)
SCENARIOS = [scenario for scp_i in OPTIONS for scenario in build_scenarios(scp_i)]


def get_fault(boundary: str) -> str:
    return next(fault for fault in FAULTS if boundary.startswith(fault))


def choose(boundaries: list[str], seed: int) -> list[str]:
    """A part of the boundaries in which no kind of fault is missing."""
    if WALK_ALL:
        return boundaries
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    shuffled = chance.sample(boundaries, len(boundaries))
    one_of_each = {get_fault(boundary): boundary for boundary in shuffled}
    return list(dict.fromkeys([*one_of_each.values(), *shuffled[:SAMPLE]]))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.name}, i={scenario.scp_i:02X}")
def test_no_boundary_loses_a_card(scenario: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepare(scenario, tmp_path)
    boundaries = list_boundaries(prepared, tmp_path / "card.db")
    assert {get_fault(boundary) for boundary in boundaries} == set(FAULTS)
    seed = SEED + SCENARIOS.index(scenario)
    chosen = choose(boundaries, seed)
    cuts = [cut_at(prepared, tmp_path / "card.db", boundary) for boundary in chosen]
    chance = random.Random(seed)  # noqa: S311 - the same
    for _ in range(PAIRS):
        first, *again = chance.choices(boundaries, k=chance.choice((2, 3)))
        cuts.append(cut_at(prepared, tmp_path / "card.db", first, again))
    report(scenario, len(boundaries), len(chosen), cuts, capsys)
    assert [cut for cut in cuts if cut.faults] == []


def report(scenario: Scenario, crossed: int, walked: int, cuts: list[Cut], capsys: pytest.CaptureFixture[str]) -> None:
    needed = Counter(cut.further_visits for cut in cuts[:walked])
    persons = sum(bool(cut.faults) for cut in cuts)
    visits = ", ".join(f"{count} cards {further} more" for further, count in sorted(needed.items()))
    with capsys.disabled():
        print(
            f"\nboundaries: {scenario.name}, i={scenario.scp_i:02X}: {walked} of {crossed} walked"
            f" ({crossed - walked} left out), {PAIRS} cut several times; visits needed: {visits};"
            f" cards that need a person: {persons}",
            end="",
        )
