"""A transfer between two platforms survives whatever is cut at any of its boundaries.

The next visits, at either of the provider's terminals, finish it unaided: the SSD under the provider's keys alone, the
transfer closed on both sides, nothing created twice, no key set in the SSD that is on no record, no envelope kept.

The list of boundaries is `tests/fakes/transfer_boundaries.py`'s. By default a part of it is walked, drawn with a fixed
seed and spread over all kinds of faults; KMS_BOUNDARIES=all walks all of it.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.transfer_boundaries import (
    FAULTS,
    TransferScenario,
    build_transfer_scenarios,
    cut_transfer_at,
    list_transfer_boundaries,
    prepare_transfer,
)

WALK_ALL = os.environ.get("KMS_BOUNDARIES") == "all"
# With one of each kind in the first scenario, the others' sample is small: they differ in what the card does alone.
SAMPLE = 4
SEED = 20263
SCENARIOS = build_transfer_scenarios()
WITHOUT_ISSUER = "flow 5"


def get_fault(boundary: str) -> str:
    return next(fault for fault in FAULTS if boundary.startswith(fault))


def choose(boundaries: list[str], scenario: TransferScenario) -> list[str]:
    """A part of the boundaries: in the first scenario and in re-keying no kind of fault is missing."""
    if WALK_ALL:
        return boundaries
    chance = random.Random(SEED + SCENARIOS.index(scenario))  # noqa: S311 - a sample, not a secret
    shuffled = chance.sample(boundaries, len(boundaries))
    spread = scenario.name in {"flow 3", "re-keying"}
    one_of_each = {get_fault(boundary): boundary for boundary in shuffled} if spread else {}
    return list(dict.fromkeys([*one_of_each.values(), *shuffled[:SAMPLE]]))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_boundary_loses_a_transfer(
    scenario: TransferScenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare_transfer(scenario, tmp_path)
    boundaries = list_transfer_boundaries(prepared, tmp_path / "world")
    crossed = {get_fault(boundary) for boundary in boundaries}
    missing = set(FAULTS) - crossed
    assert all("issuer" in fault or "line" in fault for fault in missing)
    assert bool(missing) == (scenario.name == WITHOUT_ISSUER)
    cuts = [cut_transfer_at(prepared, tmp_path / "world", boundary) for boundary in choose(boundaries, scenario)]
    needed = Counter(cut.further_visits for cut in cuts)
    visits = ", ".join(f"{count} cards {further} more" for further, count in sorted(needed.items()))
    with capsys.disabled():
        print(
            f"\ntransfer boundaries: {scenario.name}: {len(cuts)} of {len(boundaries)} walked"
            f" ({len(boundaries) - len(cuts)} left out); visits needed: {visits};"
            f" cards that need a person: {sum(bool(cut.faults) for cut in cuts)}",
            end="",
        )
    assert [cut for cut in cuts if cut.faults] == []
